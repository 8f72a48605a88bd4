/**
 * One socket to the server, opened again whenever it is lost. It connects the server's messages with the {@link Topics}.
 *
 *     connecting ─ welcome ─► open ◄─ stale, fresh ─► stale            leave, close ─► closed, from anywhere
 *       ▲    ▲                  │ lost, or silent for 2.5 ticks
 *       │    └──── backoff ─────┤
 *       └─── refresh ── refused ┘ the server itself refuses: 4401, 4403, or its own problem document
 *
 * The server pings, and the browser answers, even in a background tab. Timers there run only once a minute, so no timer here keeps the user
 * online. The timers here only detect that the server is gone.
 * Two tries begin at least a second apart, and so do two calls of the token callback, whatever the page and the application do.
 * With several addresses, the client goes on to the next one when a try fails, and when the server asks the client to reconnect.
 */
import { addressOf, Addresses } from './addresses.js';
import { Requests } from './requests.js';
import { backoffMs, Pace } from './backoff.js';
import { Commands } from './commands.js';
import { deviceOf } from './device.js';
import { Listeners } from './listeners.js';
import { watchPage } from './page.js';
import { AglowError, callsOf, fetchJson, inTime, isOwn, post, protocolsOf, tokenOf } from './server.js';
import { Silence } from './silence.js';
import { Tokens } from './tokens.js';
import { Topics } from './topics.js';
import { definitionOf, listOf } from './users.js';

const SILENT_TICKS = 2.5; // one tick may be lost, and the next one late
const WELCOME_WITHIN_MS = 10_000;
const LEAVE_WITHIN_MS = 1000;
const OPEN = 1; // WebSocket.OPEN, which not every environment defines

const REFUSED = { 4401: 'Not authenticated', 4403: 'Not allowed', 4429: 'Too many connections' };

const CLOSED = { title: 'Closed', detail: 'This connection was closed or left. Open another one.' };

const parse = (data) => {
    try {
        return JSON.parse(data) ?? {};
    } catch {
        return undefined;
    }
};

// the type of the answer to a call that may be a handshake, and is none
const NO_HANDSHAKE = 'urn:aglow:problem:not-a-websocket';

// http becomes ws, and https wss
const socketAddress = (url, query) => `ws${addressOf(url, '/ws', query).slice(4)}`;

export function connect(options) {
    return new Connection(options);
}

class Connection {
    #options;
    #state = 'connecting';
    #refusal; // the server's last refusal
    #socket;
    #requests = new Requests((message) => this.#send(message));
    #topics = new Topics(this.#requests, (...change) => this.#listeners.emit('presence', ...change));
    #commands = new Commands(this.#requests);
    #listeners = new Listeners();
    #stopWatchingPage;

    #try; // { url } of the current try or connection; callbacks of an older one are ignored
    #attempt = 0; // tries since the last tick
    #redial; // the timer of the next try
    #pace = new Pace();
    #reconnectAt; // when the server asked the client to reconnect
    #leaving; // what the first leave() returned
    #reported; // the last failure that was reported
    #tokens;
    #silence = new Silence(
        () => this.#lose(`${this.#address} sent no welcome within ${WELCOME_WITHIN_MS / 1000} s.`),
        () => this.#isWelcome && this.#requests.send({ type: 'unwatch', users: [] }, () => {}),
    );

    constructor(options = {}) {
        const { user, token, reportActivity = true, minBackoffMs = 1000, maxBackoffMs = 30_000 } = options;
        const WebSocket = options.WebSocket ?? globalThis.WebSocket;
        if (user === undefined && (token ?? undefined) === undefined)
            throw new TypeError('Set "user" (a server in open mode) or "token".');
        if (!(minBackoffMs >= 0 && maxBackoffMs >= minBackoffMs))
            throw new RangeError(`"minBackoffMs" (${minBackoffMs}) must be 0 or more, and "maxBackoffMs" (${maxBackoffMs}) not less.`);
        if (!WebSocket)
            throw new TypeError('There is no WebSocket here. Node has one from version 22; in 20 and 21 run '
                + '"node --experimental-websocket", or give the class as "WebSocket" in the options.');
        // one device for the socket, heartbeats and the leave, even if the browser stores another meanwhile
        const device = deviceOf(options.device);
        this.#options = { ...options, device, WebSocket, minBackoffMs, maxBackoffMs, addresses: new Addresses(options.url) };
        this.#tokens = new Tokens(this.#options, this.#pace, this.#requests, (problem) => this.#listeners.report(problem));
        Object.assign(this, callsOf(this.#options));
        this.#stopWatchingPage = watchPage({
            appState: options.appState,
            acted: () => reportActivity && this.active(),
            resumed: () => this.resume(),
            paused: () => this.#pause(),
        });
        this.#dial();
    }

    get state() {
        return this.#state;
    }

    get reason() {
        return this.#state === 'refused' ? this.#refusal : undefined;
    }

    onState(callback) {
        return this.#listeners.on('state', callback);
    }

    onPresence(callback) {
        return this.#listeners.on('presence', callback);
    }

    onError(callback) {
        return this.#listeners.on('error', callback);
    }

    watch(users, callback, options) {
        if (typeof callback === 'object' && callback !== null)
            [callback, options] = [undefined, callback];
        if (callback !== undefined && typeof callback !== 'function')
            throw new TypeError('The callback of watch is a function: watch(users, (record, previous) => …, { definition }).');
        const watch = this.#topics.watch(listOf(users), definitionOf(options), callback);
        if (this.#state === 'closed')
            watch.stop();
        return watch;
    }

    unwatch(users, options) {
        this.#topics.unwatch(listOf(users), definitionOf(options));
    }

    setStatus(status, details) {
        const kept = this.#commands.setStatus(status, details);
        if (this.#isOver)
            this.#commands.fail(new AglowError(this.reason ?? CLOSED));
        return kept;
    }

    active() {
        this.#commands.active();
    }

    resume() {
        if (this.#state === 'connecting' && !this.#try)
            this.#dialIn(0);
        else if (this.#isWelcome)
            this.#silence.prove();
    }

    refresh() {
        this.#tokens.accept();
        if (this.#state === 'refused') {
            this.#attempt = 0;
            this.#become('connecting');
            this.#dialIn(0);
        } else if (this.#isWelcome && this.#tokens.isCallback) {
            this.#tokens.renewNow();
        } else {
            this.resume();
        }
    }

    leave() {
        return (this.#leaving ??= this.#leave());
    }

    close() {
        const socket = this.#end();
        this.#commands.fail(new AglowError(CLOSED));
        socket?.close(1000);
    }

    get #isWelcome() {
        return this.#state === 'open' || this.#state === 'stale';
    }

    get #isOver() {
        return this.#state === 'refused' || this.#state === 'closed';
    }

    get #address() {
        return socketAddress(this.#try.url);
    }

    async #leave() {
        if (this.#state === 'closed')
            return 'lease';
        const isWelcome = this.#isWelcome;
        const socket = this.#end();
        const isLeft = isWelcome && (await this.#sendLeave(socket));
        socket?.close();
        this.#commands.fail(new AglowError(CLOSED));
        return isLeft ? 'left' : this.#leaveByCall();
    }

    #sendLeave(socket) {
        this.#socket = socket;
        return new Promise((resolve) => {
            const timer = setTimeout(resolve, LEAVE_WITHIN_MS);
            const settle = (isAcknowledged) => {
                clearTimeout(timer);
                resolve(isAcknowledged);
            };
            socket.addEventListener('close', ({ code }) => settle(code === 1000));
            socket.addEventListener('message', ({ data }) => this.#requests.receive(parse(data)));
            this.#requests.send({ type: 'leave' }, (answer) => settle(answer?.type === 'ok'));
        });
    }

    // Uses the last token, not a new one: an application that signs a person out may already have ended their session.
    async #leaveByCall() {
        const body = { user_id: this.#options.user, device: this.#options.device };
        try {
            await inTime(post(this.#options, '/offline', body, { known: this.#tokens.last, keepalive: true }), 'the call');
            return 'left';
        } catch {
            return 'lease';
        }
    }

    // ---- the socket: connect, lose, connect again ------------------------------------------------------------------------------

    async #dial() {
        const { addresses, user, device, tokenInUrl, WebSocket } = this.#options;
        const current = (this.#try = { url: addresses.used });
        const isOurs = () => current === this.#try;
        this.#redial = undefined;
        this.#pace.begin();
        let token;
        try {
            token = await tokenOf(this.#options);
        } catch (mistake) {
            if (isOurs())
                this.#lose(`${this.#address} was not tried: ${mistake.message}.`, { stays: true });
            return;
        }

        if (!isOurs())
            return;
        // the server would refuse the same token again
        if (!this.#tokens.take(token)) {
            this.#refuse(4401, this.#refusal);
            return;
        }

        // a browser cannot set headers on a socket, and proxies log URLs
        const shown = tokenInUrl ? token : undefined;
        const offered = tokenInUrl ? undefined : token;
        const address = socketAddress(current.url, { user_id: user, device_id: device.id, device_kind: device.kind, access_token: shown });
        let socket;
        try {
            socket = offered === undefined ? new WebSocket(address) : new WebSocket(address, protocolsOf(offered));
        } catch (mistake) {
            // a browser refuses, for instance, a page over https that connects to http
            this.#lose(`${this.#address} was not tried: ${mistake.message}.`);
            return;
        }

        this.#socket = socket;
        let isMade = false;
        let isLost = false;
        const lost = ({ code, reason }) => {
            if (isLost || !isOurs())
                return;
            isLost = true;
            if (code in REFUSED)
                this.#refuse(code, { title: REFUSED[code], detail: reason || 'The server does not say why.' });
            else if (isMade)
                this.#lose(`${this.#address} closed the connection before the welcome`
                    + `${code ? ` (${code}${reason && `: ${reason}`})` : ''}.`);
            else
                this.#findOut(address, offered);
        };
        socket.addEventListener('open', () => (isMade = true));
        socket.addEventListener('message', ({ data }) => isOurs() && this.#receive(data));
        socket.addEventListener('close', lost);
        socket.addEventListener('error', () => setTimeout(lost, 0, {})); // not every WebSocket closes after it
        this.#silence.listen(WELCOME_WITHIN_MS);
    }

    // The handshake failed, and a WebSocket does not say why. The server sends browsers a close code. Elsewhere, a plain GET of the same
    // address finds out: the server refuses it as it refused the handshake, or because it is no handshake.
    async #findOut(address, token) {
        const current = this.#try;
        const probe = globalThis.document ? {} : fetchJson(address.replace('ws', 'http'), this.#options, token, { method: 'GET' });
        const refused = await inTime(probe, 'the call').catch((failure) => failure);
        if (current !== this.#try)
            return;
        const { status, type, retryAfterSeconds = 0 } = refused;
        const isRefused = isOwn(refused) && type !== NO_HANDSHAKE;
        const stays = isRefused && status < 500;
        if (stays && status !== 408 && status !== 429) {
            this.#refuse(4000 + status, refused);
            return;
        }

        const does = isOwn(refused)
            ? 'connect, but the server answers calls. Does the proxy before it pass WebSockets on, or has this user too many connections?'
            : 'answer as an Aglow server does. Is the server running, is "url" right, and may this page connect?';
        this.#lose(isRefused ? refused : `${this.#address} does not ${does}`, { leastMs: 1000 * retryAfterSeconds, stays });
    }

    // The server itself refuses.
    #refuse(code, { title, detail }) {
        this.#refusal = { title, detail };
        if (code === 4429) {
            this.#attempt = Infinity;
            this.#lose(this.#refusal, { stays: true });
        } else if (code === 4401 && this.#tokens.refuse()) {
            this.#lose(undefined, { stays: true });
        } else {
            this.#drop()?.close();
            this.#become('refused');
            this.#commands.fail(new AglowError(this.#refusal));
            this.#listeners.report(this.#refusal);
        }
    }

    // The connection is lost, or was never made. Reports `why` once if it was never made. The next try is at the next address if no
    // connection was made at this one, unless the reason holds for all (`stays`), or if the server asked the client to reconnect.
    #lose(why, { leastMs = 0, stays = false } = {}) {
        const wasNone = this.#state === 'connecting';
        const { minBackoffMs, maxBackoffMs, addresses } = this.#options;
        const isMoved = this.#reconnectAt !== undefined;
        const waitMs = isMoved ? this.#reconnectAt - performance.now() : backoffMs(this.#attempt++, minBackoffMs, maxBackoffMs);
        if (isMoved || (wasNone && !stays))
            addresses.leave(this.#try.url);
        this.#drop()?.close();
        this.#dialIn(Math.max(waitMs, leastMs));
        const problem = typeof why === 'string'
            ? { title: 'Not connected', detail: `${why} The client tries again until it succeeds.` }
            : why;
        if (problem && (wasNone || problem === why) && problem.detail !== this.#reported) {
            this.#reported = problem.detail;
            this.#listeners.report(problem);
        }

        this.#become('connecting');
    }

    #dialIn(waitMs) {
        clearTimeout(this.#redial);
        this.#redial = setTimeout(() => this.#dial(), this.#pace.wait(waitMs));
    }

    // Drops the socket and everything that belongs to it. The socket may be silent, and not closed at all.
    #drop() {
        const socket = this.#socket;
        clearTimeout(this.#redial);
        this.#silence.stop();
        this.#tokens.stop();
        this.#socket = this.#try = this.#reconnectAt = undefined;
        return socket;
    }

    // The browser freezes the page. Until resume() connects again, nothing renews the lease.
    #pause() {
        if (this.#isOver)
            return;
        this.#drop()?.close();
        this.#become('connecting');
    }

    #end() {
        const socket = this.#drop();
        this.#stopWatchingPage();
        this.#become('closed');
        this.#topics.stop();
        return socket;
    }

    #become(state) {
        const previous = this.#state;
        if (previous === state)
            return;
        this.#state = state;
        // updates the users first, so that callers who receive the state see matching records
        if (this.#isWelcome) {
            this.#topics.setStale(state === 'stale');
        } else {
            this.#commands.disconnect();
            this.#topics.disconnect();
        }

        this.#listeners.emit('state', state, previous);
    }

    // ---- messages --------------------------------------------------------------------------------------------------------------

    #receive(data) {
        this.#silence.received();
        const message = parse(data);
        if (!message) {
            const detail = 'The server sent something that is not JSON. Is "url" that of an Aglow server?';
            this.#listeners.report({ title: 'Not a message', detail });
            return;
        }

        const isAnswer = this.#requests.receive(message);
        switch (message.type) {
            case 'welcome':
                this.#welcome(message);
                break;
            case 'presence':
                if (!isAnswer)
                    this.#topics.receive(message);
                break;
            case 'tick':
                this.#attempt = 0; // not at the welcome, so that a server that fails after it gets no flood of retries
                this.#requests.tick();
                break;
            case 'stale':
            case 'fresh':
                this.#become(message.type === 'fresh' ? 'open' : 'stale');
                break;
            case 'error':
                this.#listeners.report(message);
                break;
            case 'token':
                this.#tokens.receive(message);
                break;
            case 'reconnect':
                this.#reconnectAt = performance.now() + message.after_ms; // the server closes by then
                break;
            // a newer server may send other types
        }
    }

    #welcome(welcome) {
        this.#tokens.accept();
        this.#reported = undefined;
        this.#requests.clear();
        this.#tokens.receive(welcome);
        this.#silence.listen((welcome.tick_seconds ?? 10) * SILENT_TICKS * 1000);
        this.#become('open');
        this.#topics.connect();
        this.#commands.connect();
    }

    // If the socket is closing, the command is sent again on the next one.
    #send(message) {
        if ((this.#socket.readyState ?? OPEN) === OPEN)
            this.#socket.send(JSON.stringify(message));
    }
}

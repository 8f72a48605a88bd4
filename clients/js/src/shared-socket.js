/**
 * One real socket for several tabs. Each tab acts as if it had its own socket. This class runs in a SharedWorker, or in the elected tab.
 *
 *     tab ─ watch {id 1} ─┐                        ┌─ id 7 ─► server
 *     tab ─ watch {id 1} ─┴─► ids made unique ─────┴─ id 8
 *     server ─ answer ─► the requesting tab     server ─ change ─► the tabs that watch that user
 *
 * An unwatch goes to the server only for users whom no other tab watches, and a leave only from the last tab. One tab renews the token for
 * all tabs, so only that tab receives the end of the token.
 */

const APART_MS = 1000; // minimum time between two real sockets, however many tabs ask for one

const keyOf = (user, definition) => JSON.stringify([user, definition]);

export class SharedSocket {
    #WebSocket;
    #tabs = new Map(); // post → { wanted, answered }: keys that the tab watches, and the keys whose snapshot it has
    #socket;
    #isOpen = false;
    #dial;
    #dialedAt = -Infinity;
    #lastId = 0;
    #pending = new Map(); // our id → { tab, id, type, keys }
    #saved = new Map(); // key → record
    #hasAnswer = false;
    #welcome;
    #endsAt; // when the token ends
    #isStale = false;

    constructor(WebSocket) {
        this.#WebSocket = WebSocket;
    }

    /** A tab opens a socket. `post(event)` delivers its events: { kind: 'open' | 'message' | 'close', … }. */
    join(post, address, protocols) {
        this.#tabs.set(post, { wanted: new Set(), answered: new Set() });
        if (this.#isOpen)
            this.#bring(post);
        else if (!this.#socket && this.#dial === undefined)
            this.#dial = setTimeout(() => this.#connect(address, protocols), Math.max(0, this.#dialedAt + APART_MS - performance.now()));
    }

    /** A tab closes its socket, or has ended. */
    leave(post) {
        const tab = this.#tabs.get(post);
        if (!this.#tabs.delete(post))
            return;
        if (this.#tabs.size === 0) {
            this.#end();
            return;
        }

        const left = [...tab.wanted].filter((key) => !this.#isWanted(key)).map((key) => JSON.parse(key));
        for (const definition of new Set(left.map(([, name]) => name))) {
            const users = left.filter(([, name]) => name === definition).map(([user]) => user);
            this.#request(undefined, { type: 'unwatch', users, definition: definition ?? undefined });
        }

        this.#chooseRenewer();
    }

    /** A tab sends a message. */
    send(post, text) {
        const tab = this.#tabs.get(post);
        const message = JSON.parse(text);
        const { type, users = [], definition, id } = message;
        if (!tab || !this.#isOpen)
            return;
        if (type === 'watch')
            users.forEach((user) => tab.wanted.add(keyOf(user, definition)));
        if (type === 'unwatch')
            users.forEach((user) => [tab.wanted, tab.answered].forEach((keys) => keys.delete(keyOf(user, definition))));
        const left = type === 'unwatch' ? users.filter((user) => !this.#isWanted(keyOf(user, definition))) : users;
        // answers the tab itself, because other tabs still need the socket or these users
        if ((type === 'leave' && this.#tabs.size > 1) || (left.length === 0 && users.length > 0))
            post({ kind: 'message', data: JSON.stringify({ type: 'ok', id }) });
        else
            this.#request(post, { ...message, ...(message.users && { users: left }) });
    }

    #isWanted(key) {
        return [...this.#tabs.values()].some(({ wanted }) => wanted.has(key));
    }

    #request(post, message) {
        const id = ++this.#lastId;
        const { type, users = [], definition } = message;
        this.#pending.set(id, { post, id: message.id, type, keys: users.map((user) => keyOf(user, definition)) });
        this.#socket.send(JSON.stringify({ ...message, id }));
    }

    #connect(address, protocols) {
        this.#dial = undefined;
        this.#dialedAt = performance.now();
        const socket = (this.#socket = protocols ? new this.#WebSocket(address, protocols) : new this.#WebSocket(address));
        socket.addEventListener('open', () => {
            if (socket !== this.#socket)
                return;
            this.#isOpen = true;
            this.#broadcast({ kind: 'open' });
        });
        socket.addEventListener('message', ({ data }) => socket === this.#socket && this.#receive(data));
        socket.addEventListener('close', ({ code, reason }) => {
            if (socket !== this.#socket)
                return;
            this.#broadcast({ kind: 'close', code, reason });
            this.#tabs.clear();
            this.#end();
        });
    }

    #end() {
        const socket = this.#socket;
        clearTimeout(this.#dial);
        this.#socket = this.#dial = this.#welcome = this.#endsAt = undefined;
        this.#isOpen = this.#hasAnswer = this.#isStale = false;
        this.#pending.clear();
        this.#saved.clear();
        socket?.close(1000);
    }

    // Sends a tab that joins later what the others have received.
    #bring(post) {
        post({ kind: 'open' });
        if (this.#welcome)
            this.#deliver(post, { ...this.#welcome, ...(this.#renewer === post && { expires_in_seconds: this.#left }) });
        if (this.#saved.size > 0)
            this.#deliver(post, { type: 'presence', users: [...this.#saved.values()] });
        if (this.#isStale)
            this.#deliver(post, { type: 'stale' });
    }

    #receive(data) {
        const message = JSON.parse(data);
        const pending = this.#pending.get(message.id);
        if (pending) {
            this.#pending.delete(message.id);
            this.#answer(pending, message);
        } else if (message.type === 'presence') {
            this.#spread(message);
        } else if (message.type === 'welcome' || message.type === 'token') {
            const { expires_in_seconds: left, ...rest } = message;
            this.#endsAt = left === undefined ? undefined : performance.now() + left * 1000;
            if (message.type === 'welcome')
                this.#welcome = rest;
            for (const post of this.#tabs.keys())
                this.#deliver(post, post === this.#renewer ? message : rest);
        } else {
            if (message.type === 'stale' || message.type === 'fresh')
                this.#isStale = message.type === 'stale';
            this.#broadcast({ kind: 'message', data });
        }
    }

    #answer({ post, id, type, keys }, message) {
        this.#hasAnswer ||= message.type === 'presence';
        const tab = this.#tabs.get(post);
        if (!tab)
            return;
        if (type === 'watch')
            keys.filter((key) => tab.wanted.has(key)).forEach((key) => tab.answered.add(key));
        if (message.type === 'token')
            this.#endsAt = performance.now() + message.expires_in_seconds * 1000;
        this.#deliver(post, { ...message, id });
    }

    // Sends a change to the tabs that watch its user; a change of a saved subscription to all tabs.
    #spread({ users, ...message }) {
        const isUnwatching = [...this.#pending.values()].some(({ type }) => type === 'unwatch');
        for (const record of users) {
            const key = keyOf(record.user_id, message.definition);
            if (!this.#hasAnswer || this.#saved.has(key) || (!isUnwatching && !this.#isWanted(key)))
                this.#saved.set(key, record);
        }

        for (const [post, { answered }] of this.#tabs) {
            const isTheirs = (key) => this.#saved.has(key) || answered.has(key);
            const theirs = users.filter(({ user_id }) => isTheirs(keyOf(user_id, message.definition)));
            if (theirs.length > 0)
                this.#deliver(post, { ...message, users: theirs });
        }
    }

    // The tab that renews the token: the first one.
    get #renewer() {
        return this.#tabs.keys().next().value;
    }

    get #left() {
        return this.#endsAt === undefined ? undefined : Math.max(0, Math.floor((this.#endsAt - performance.now()) / 1000));
    }

    #chooseRenewer() {
        if (this.#endsAt !== undefined)
            this.#deliver(this.#renewer, { type: 'token', expires_in_seconds: this.#left });
    }

    #deliver(post, message) {
        post({ kind: 'message', data: JSON.stringify(message) });
    }

    #broadcast(event) {
        [...this.#tabs.keys()].forEach((post) => post(event));
    }
}

/**
 * Serves tabs that send messages through ports, or through a channel: { kind: 'join', tab, address, protocols }, 'send', 'leave'. Each tab
 * holds a Web Lock with its own name while it is open.
 */
export function serve(shared, locks, post, event, posts) {
    const { kind, tab } = event;
    if (kind === 'join' && !posts.has(tab)) {
        posts.set(tab, post);
        shared.join(post, event.address, event.protocols);
        locks.request(tab, () => {
            shared.leave(post);
            posts.delete(tab);
        });
    } else if (kind === 'send') {
        shared.send(posts.get(tab), event.text);
    } else if (kind === 'leave') {
        shared.leave(posts.get(tab));
    }
}

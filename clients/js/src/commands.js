/**
 * What this user reports about themself: the status that they choose, and their activity. Each is kept until the server has answered, and
 * sent again on the next connection. Only the newest of each kind counts.
 */
import { AglowError } from './server.js';

const MANUAL = ['auto', 'online', 'away', 'busy', 'offline'];
const DETAILS = ['text', 'emoji', 'until', 'for_seconds', 'source', 'priority'];
const ACTIVE_INTERVAL_MS = 30_000;
const ACTIVE_FOR_MS = 60_000; // activity older than this is not worth sending

function requireOneOf(words, word, what) {
    if (!words.includes(word))
        throw new TypeError(`"${word}" is not a ${what} to choose: choose one of ${words.join(', ')}.`);
}

export class Commands {
    #requests;
    #isConnected = false;
    #chosen; // { message, resolve, reject }, until it is answered
    #actedAt = -Infinity;
    #acted; // when the person did something, until the server has answered

    constructor(requests) {
        this.#requests = requests;
    }

    /** Resolves with `saved`, or with `replaced` if a newer status was chosen before the server had this one. */
    setStatus(status, details) {
        requireOneOf(MANUAL, status, 'status');
        Object.keys(details ?? {}).forEach((name) => requireOneOf(DETAILS, name, 'detail'));
        const kept = new Promise((resolve, reject) => {
            this.#chosen?.resolve('replaced');
            this.#chosen = { message: { ...details, type: 'status', status }, resolve, reject };
        });
        kept.catch(() => {}); // a caller that does not await it gets the error from onError
        this.#sendStatus();
        return kept;
    }

    active() {
        const now = performance.now();
        if (now - this.#actedAt < ACTIVE_INTERVAL_MS)
            return;
        this.#actedAt = this.#acted = now;
        this.#sendActive();
    }

    connect() {
        this.#isConnected = true;
        this.#sendStatus();
        this.#sendActive();
    }

    disconnect() {
        this.#isConnected = false;
    }

    /** Ends the commands, because nothing will be sent any more. */
    fail(why) {
        this.#chosen?.reject(why);
        this.#chosen = this.#acted = undefined;
    }

    #sendStatus() {
        const chosen = this.#chosen;
        if (!this.#isConnected || !chosen)
            return;
        this.#requests.send(chosen.message, (answer) => {
            if (chosen !== this.#chosen)
                return;
            if (!answer) {
                this.#sendStatus();
                return;
            }

            this.#chosen = undefined;
            if (answer.type === 'error')
                chosen.reject(new AglowError(answer));
            else
                chosen.resolve('saved');
        });
    }

    #sendActive() {
        const acted = this.#acted;
        if (!this.#isConnected || acted === undefined || performance.now() - acted > ACTIVE_FOR_MS)
            return;
        this.#requests.send({ type: 'active' }, (answer) => {
            if (acted !== this.#acted)
                return;
            if (answer)
                this.#acted = undefined;
            else
                this.#sendActive();
        });
    }
}

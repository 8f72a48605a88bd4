/**
 * What this user says of themself: the status they choose, and that they did something. Both are kept until the server has answered, and
 * sent again on the next connection.
 * Only the newest of each counts.
 */
import { AglowError } from './server.js';

const MANUAL = ['auto', 'online', 'away', 'busy', 'offline'];
const ACTIVE_INTERVAL_MS = 30_000;
const ACTIVE_FOR_MS = 60_000; // what somebody did longer ago is no activity now

export class Commands {
    #asks;
    #isConnected = false;
    #chosen; // { message, resolve, reject }, until it is answered
    #actedAt = -Infinity;
    #acted; // when, until it is answered

    constructor(asks) {
        this.#asks = asks;
    }

    /** Resolves with `saved`, or `replaced` where another was chosen before the server had this one. */
    setStatus(status, said) {
        if (!MANUAL.includes(status))
            throw new TypeError(`"${status}" is not a status to choose: it is one of ${MANUAL.join(', ')}.`);
        const kept = new Promise((resolve, reject) => {
            this.#chosen?.resolve('replaced');
            this.#chosen = { message: { ...said, type: 'status', status }, resolve, reject };
        });
        kept.catch(() => {}); // who does not wait for it hears of it by onError
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

    /** Nothing is sent any more. */
    fail(why) {
        this.#chosen?.reject(why);
        this.#chosen = this.#acted = undefined;
    }

    #sendStatus() {
        const chosen = this.#chosen;
        if (!this.#isConnected || !chosen)
            return;
        this.#asks.ask(chosen.message, (answer) => {
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
        this.#asks.ask({ type: 'active' }, (answer) => {
            if (acted !== this.#acted)
                return;
            if (answer)
                this.#acted = undefined;
            else
                this.#sendActive();
        });
    }
}

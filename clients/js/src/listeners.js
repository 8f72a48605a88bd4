/** The callbacks of onState, onPresence and onError. */
import { tell } from './watch.js';

export class Listeners {
    #callbacks = { state: new Set(), presence: new Set(), error: new Set() };

    /** Adds a callback; returns a function that removes it. */
    on(kind, callback) {
        if (typeof callback !== 'function')
            throw new TypeError('A function to call back is needed.');
        const listener = (...told) => tell(callback, ...told);
        this.#callbacks[kind].add(listener);
        return () => this.#callbacks[kind].delete(listener);
    }

    tell(kind, ...told) {
        this.#callbacks[kind].forEach((listener) => listener(...told));
    }

    /** Reports a problem. Without a listener it is written to the console. */
    report({ title, detail }) {
        if (this.#callbacks.error.size > 0)
            this.tell('error', { title, detail });
        else
            console.warn(`aglow: ${title}: ${detail}`);
    }
}

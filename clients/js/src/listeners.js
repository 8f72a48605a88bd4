/** The callbacks of onState, onPresence and onError. */
import { invoke } from './watch.js';

export class Listeners {
    #callbacks = { state: new Set(), presence: new Set(), error: new Set() };

    /** Adds a callback; returns a function that removes it. */
    on(kind, callback) {
        if (typeof callback !== 'function')
            throw new TypeError('A function to call back is needed.');
        const listener = (...args) => invoke(callback, ...args);
        this.#callbacks[kind].add(listener);
        return () => this.#callbacks[kind].delete(listener);
    }

    emit(kind, ...args) {
        this.#callbacks[kind].forEach((listener) => listener(...args));
    }

    /** Reports a problem. Without a listener it is written to the console. */
    report({ title, detail }) {
        if (this.#callbacks.error.size > 0)
            this.emit('error', { title, detail });
        else
            console.warn(`aglow: ${title}: ${detail}`);
    }
}

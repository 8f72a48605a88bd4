/** The caller's side of a watch: the latest record of each user, delivered to a callback and to any number of loops. */

/** The `unknown` record of a user, with their last seen if that is known. */
export const unknown = (user, lastSeen = null) => ({ user_id: user, is_online: null, status: 'unknown', last_seen: lastSeen });

/** Calls a caller's callback. An error in it is reported separately, and other callbacks are still called. */
export function invoke(callback, ...args) {
    try {
        callback(...args);
    } catch (mistake) {
        queueMicrotask(() => {
            throw mistake;
        });
    }
}

export class Watch {
    #lastReceived; // user → record, undefined until the first one comes; in the caller's order
    #callback;
    #release;
    #loops = new Set(); // { pending: user → record, wake }

    /** `release(users)` is called once when the watch stops, with the users that are still watched. */
    constructor(users, callback, release) {
        this.#lastReceived = new Map(users.map((user) => [user, undefined]));
        this.#callback = callback;
        this.#release = release;
    }

    get(user) {
        return this.#lastReceived.get(user) ?? (this.#lastReceived.has(user) ? unknown(user) : undefined);
    }

    get records() {
        return new Map([...this.#lastReceived.keys()].map((user) => [user, this.get(user)]));
    }

    stop() {
        const release = this.#release;
        this.#release = undefined;
        release?.([...this.#lastReceived.keys()]);
        for (const loop of this.#loops)
            loop.wake();
    }

    // A set of users is pending, not a queue of events, so a slow loop costs no memory and gets the latest.
    async *[Symbol.asyncIterator]() {
        const loop = { pending: new Map([...this.#lastReceived].filter(([, record]) => record)), wake: () => {} };
        this.#loops.add(loop);
        try {
            while (this.#release) {
                for (const [user, record] of loop.pending) {
                    loop.pending.delete(user);
                    yield record;
                    if (!this.#release)
                        return;
                }

                // the watch may have stopped, or got a record, while the caller was busy
                if (this.#release && loop.pending.size === 0)
                    await new Promise((resolve) => (loop.wake = resolve));
            }
        } finally {
            this.#loops.delete(loop);
            this.stop();
        }
    }

    /** Receives a record from the {@link Topics}. */
    receive(record) {
        const user = record.user_id;
        const previous = this.#lastReceived.get(user);
        if (!this.#release || previous === record || !this.#lastReceived.has(user))
            return;
        this.#lastReceived.set(user, record);
        for (const loop of this.#loops) {
            loop.pending.set(user, record);
            loop.wake();
        }

        if (this.#callback)
            invoke(this.#callback, record, previous);
    }

    /** A user is no longer watched. */
    drop(user) {
        this.#lastReceived.delete(user);
        for (const loop of this.#loops)
            loop.pending.delete(user);
        if (this.#lastReceived.size === 0)
            this.stop();
    }
}

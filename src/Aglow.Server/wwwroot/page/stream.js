// Watching as a visitor: the event stream GET /watch, with the same methods as the client's connection.
//
// A user with a WebSocket is online, so a visitor without a name uses the event stream. A browser opens six connections to a server over
// HTTP/1.1 for all of its tabs, and each stream takes one. So a hidden tab has no stream.
import { backoffMs } from '/client/index.js';
import { eventsOf } from './events.js';
import { signIn } from './session.js';

const MIN_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 15_000;

export class Stream {
    #state = 'open'; // nothing is watched yet, so nothing is missing
    #watches = new Set(); // { users, callback, records }
    #reading; // aborts the open stream
    #isDue = false;
    #redial;
    #attempt = 0;
    #onState = () => {};
    #onVisibility = () => this.#look();

    constructor() {
        document.addEventListener('visibilitychange', this.#onVisibility);
    }

    get state() {
        return this.#state;
    }

    onState(callback) {
        this.#onState = callback;
    }

    onError() {
        // errors of a stream do not reach its callers
    }

    watch(users, callback) {
        const watch = { users: new Set(users), callback, records: new Map() };
        this.#watches.add(watch);
        this.#reopenSoon();
        return {
            stop: () => {
                if (this.#watches.delete(watch))
                    this.#reopenSoon();
            },
        };
    }

    close() {
        document.removeEventListener('visibilitychange', this.#onVisibility);
        this.#watches.clear();
        this.#hangUp();
        this.#become('closed');
    }

    // All watches of one turn share one stream.
    #reopenSoon() {
        if (this.#isDue)
            return;
        this.#isDue = true;
        queueMicrotask(() => {
            this.#isDue = false;
            if (this.#state !== 'closed')
                this.#open();
        });
    }

    #open() {
        this.#hangUp();
        const users = new Set([...this.#watches].flatMap((watch) => [...watch.users]));
        if (users.size === 0 || document.visibilityState === 'hidden')
            return;
        this.#reading = new AbortController();
        this.#read(`/watch?users=${[...users].map(encodeURIComponent).join()}`, this.#reading.signal);
    }

    async #read(url, signal) {
        try {
            for await (const { type, data } of eventsOf(url, signal)) {
                if (signal.aborted)
                    return;
                this.#take(type, data);
            }
        } catch (failure) {
            // a visitor has no token, or it has ended: nothing recovers by itself
            if (failure.status === 401 && !signal.aborted) {
                this.#forget();
                await signIn();
            }

            // anything else is treated as closed by the server: tries again, unless this page ended it
        }

        if (signal.aborted)
            return;
        this.#hangUp();
        this.#redial = setTimeout(() => this.#open(), backoffMs(this.#attempt++, MIN_BACKOFF_MS, MAX_BACKOFF_MS));
        this.#lose('connecting');
    }

    #take(type, data) {
        if (type === 'presence') {
            this.#attempt = 0;
            this.#become('open');
            for (const record of JSON.parse(data).users)
                this.#deliver(record);
        } else if (type === 'stale') {
            this.#lose('stale');
        } else if (type === 'fresh') {
            this.#become('open');
        }
    }

    #hangUp() {
        clearTimeout(this.#redial);
        this.#reading?.abort();
        this.#reading = undefined;
    }

    // Connects if the page is visible, and disconnects if it is hidden.
    #look() {
        if (document.visibilityState === 'hidden')
            this.#hangUp();
        else if (!this.#reading)
            this.#open();
    }

    #lose(state) {
        this.#forget();
        this.#become(state);
    }

    // Nobody's status is known now.
    #forget() {
        for (const { records } of this.#watches) {
            for (const { user_id, last_seen } of [...records.values()])
                this.#deliver({ user_id, is_online: null, status: 'unknown', last_seen });
        }
    }

    #deliver(record) {
        for (const { users, callback, records } of this.#watches) {
            const previous = records.get(record.user_id);
            if (!users.has(record.user_id) || (previous?.status === record.status && previous.last_seen === record.last_seen))
                continue;
            records.set(record.user_id, record);
            callback(record, previous);
        }
    }

    #become(state) {
        if (this.#state === state)
            return;
        this.#state = state;
        this.#onState(state);
    }
}

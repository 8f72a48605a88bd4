// Presence for the page: through the client's connection for a person, through the event stream for a visitor. Callers see no difference.
import { connect } from '/client/index.js';
import { token } from './session.js';
import { Stream } from './stream.js';

// how long a first connection may take before the page reports a loss
const PATIENCE_MS = 2000;

export class Presence {
    #source;
    #groups = new Set();
    #listeners = { state: [], error: [], refused: [] };
    #patience;
    #wasOpen = false;

    /** The user who is online by this page; undefined if there is none. */
    user;

    /** Whether statuses may be out of date; all of them are unknown then. */
    isLost = false;

    get state() {
        return this.#source.state;
    }

    /** Called when the connection changes, is lost or returns. */
    onState(callback) {
        this.#listeners.state.push(callback);
    }

    onError(callback) {
        this.#listeners.error.push(callback);
    }

    /** Called with the reason when the server itself refuses the user: it does not change its mind by itself. */
    onRefused(callback) {
        this.#listeners.refused.push(callback);
    }

    /** Continues as this user (undefined: as a visitor). Groups keep their watches. */
    as(user) {
        this.#change(user)?.close();
    }

    /** Leaves, and continues as a visitor. */
    leave() {
        return this.#change(undefined).leave();
    }

    // Returns the previous connection.
    #change(user) {
        const before = this.#source;
        const source = user === undefined ? new Stream() : connect({ user, token: token() });
        this.#source = source;
        this.#wasOpen = false;
        this.user = user;
        source.onState((state) => {
            if (source !== this.#source)
                return;
            if (state === 'refused')
                this.#listeners.refused.forEach((callback) => callback(source.reason));
            else
                this.#changed();
        });
        source.onError((problem) => source === this.#source && this.#listeners.error.forEach((callback) => callback(problem)));
        for (const group of this.#groups)
            group.watchOn(source);
        this.#changed();
        return before;
    }

    /** Users who are watched together. The set may change at any time. */
    group(callback) {
        const group = new Group(callback);
        this.#groups.add(group);
        group.watchOn(this.#source);
        return group;
    }

    setStatus(status, message) {
        this.#source.setStatus(status, message);
    }

    #changed() {
        clearTimeout(this.#patience);
        const { state } = this.#source;
        if (state === 'open')
            this.isLost = false;
        else if (this.#wasOpen || state === 'stale')
            this.isLost = true;
        else
            this.#patience = setTimeout(() => this.#giveUp(), PATIENCE_MS);
        this.#wasOpen = state === 'open';
        this.#publish();
    }

    #giveUp() {
        this.isLost = true;
        this.#publish();
    }

    #publish() {
        this.#listeners.state.forEach((callback) => callback());
    }
}

class Group {
    #users = [];
    #callback;
    #source;
    #watch;

    constructor(callback) {
        this.#callback = callback;
    }

    /** Watches these users and no others. */
    set(users) {
        this.#users = [...users];
        this.#rewatch();
    }

    watchOn(source) {
        this.#watch?.stop();
        this.#watch = undefined;
        this.#source = source;
        this.#rewatch();
    }

    // starts the new watch first, so that users in both stay watched
    #rewatch() {
        const before = this.#watch;
        this.#watch = this.#users.length > 0 ? this.#source?.watch(this.#users, this.#callback) : undefined;
        before?.stop();
    }
}

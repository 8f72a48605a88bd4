/**
 * Who is watched on a connection, and what is known of them: the mirror image of the server's WatchHub.
 *
 *     watch, stop ─► dirty topics ─► flush ─► watch and unwatch messages ─► server
 *     server ─► presence messages ─► known ─► shown (known, or unknown while the connection or the store is away) ─► Watches, onPresence
 *
 * A topic is one user under one definition. What the server is asked for is not a log of calls but the difference between what is wanted and what was
 * sent; so a watch that is stopped at once costs nothing, and a new connection is asked for everything in one go.
 */
import { Watch, unknown } from './watch.js';
import { bytesOf } from './users.js';

// users one connection may watch, and bytes of a message (64 KiB) with room for what stands around the list
const MAX_WATCHES = 10_000;
const MAX_LIST_BYTES = 65_000;

// the server reads 50 messages a second; a page that watches row by row as it scrolls is gathered into ten
const FLUSH_INTERVAL_MS = 100;

export class Topics {
    #send;
    #changed;
    #definitions = new Map(); // definition → user → topic
    #watched = 0; // topics that a Watch wants
    #dirty = new Set();
    #flushTimer;
    #flushedAt = -Infinity;
    #isConnected = false;
    #isCurrent = false; // what was heard on this connection holds
    #mayBeSaved = false; // the next presence message may be the snapshot of saved subscriptions
    #mayBeLost = false; // the server refused a message

    /** `send(message)` is called while connected only; `changed(record, previous, definition)` with everything that is shown. */
    constructor(send, changed) {
        this.#send = send;
        this.#changed = changed;
    }

    /** A new watch. What is known already it is told in a moment, when the caller has it in hand. */
    watch(users, definition, callback) {
        const isNew = (user) => !this.#find(user, definition)?.watches.size;
        if (this.#watched + users.filter(isNew).length > MAX_WATCHES)
            throw new RangeError(`A connection may watch ${MAX_WATCHES} users, and ${this.#watched} are watched: `
                + 'stop a watch first, or open another connection.');
        const watch = new Watch(users, callback, (left) => left.forEach((user) => this.#release(user, definition, watch)));
        for (const user of users)
            this.#want(user, definition, watch);
        queueMicrotask(() => {
            for (const user of users) {
                const topic = this.#find(user, definition);
                if (topic?.shown)
                    watch.hear(topic.shown);
            }
        });
        if (users.length === 0)
            watch.stop();
        return watch;
    }

    /** Takes users out of every watch, and off the server's list also where they are saved subscriptions. */
    unwatch(users, definition) {
        for (const user of users) {
            const topic = this.#find(user, definition);
            if (!topic)
                continue;
            topic.isSaved = false;
            this.#soil(topic);
            for (const watch of topic.watches) {
                this.#release(user, definition, watch);
                watch.drop(user);
            }
        }
    }

    /** Connected: everything is asked for anew. */
    connect() {
        this.#isConnected = this.#isCurrent = this.#mayBeSaved = true;
        this.#all().forEach((topic) => this.#dirty.add(topic));
        this.#flush();
    }

    /** The connection is gone, and with it what was asked for and answered on it. */
    disconnect() {
        this.#isConnected = this.#isCurrent = this.#mayBeLost = false;
        for (const topic of this.#all()) {
            topic.isHeld = topic.isAnswered = topic.isSaved = false;
            this.#soil(topic);
            this.#show(topic);
        }
    }

    /** The server's store is away (false), or back (true): then what was known holds, and changes follow. */
    setCurrent(isCurrent) {
        this.#isCurrent = isCurrent;
        this.#all().forEach((topic) => this.#show(topic));
    }

    /** Stops every watch. */
    stop() {
        for (const topic of this.#all())
            topic.watches.forEach((watch) => watch.stop());
        clearTimeout(this.#flushTimer);
    }

    /** A presence message. */
    hear({ users, definition }) {
        // the server sends saved subscriptions before anything that was asked for: who is in the first message unasked is saved, and so are the others in it
        const isSaved = this.#mayBeSaved && users.some(({ user_id }) => !this.#find(user_id, definition));
        this.#mayBeSaved = false;
        for (const record of users) {
            const topic = isSaved ? this.#findOrAdd(record.user_id, definition) : this.#find(record.user_id, definition);
            // a change of somebody who was unwatched while it was on its way
            if (!topic)
                continue;
            topic.isSaved ||= isSaved;
            topic.isHeld ||= isSaved;
            topic.isAnswered = true;
            topic.known = record;
            this.#show(topic);
        }
    }

    /** The server refused a message, and does not say which. */
    hearError() {
        this.#mayBeLost = true;
    }

    /** A tick. What an error may have lost is asked for again: whatever has no answer yet. */
    hearTick() {
        if (!this.#mayBeLost)
            return;
        this.#mayBeLost = false;
        for (const topic of this.#all()) {
            if (topic.isHeld && !topic.isAnswered) {
                topic.isHeld = false;
                this.#soil(topic);
            }
        }
    }

    #all() {
        return [...this.#definitions.values()].flatMap((topics) => [...topics.values()]);
    }

    #find(user, definition) {
        return this.#definitions.get(definition)?.get(user);
    }

    #findOrAdd(user, definition) {
        let topics = this.#definitions.get(definition);
        if (!topics)
            this.#definitions.set(definition, (topics = new Map()));
        let topic = topics.get(user);
        if (!topic) {
            topic = {
                user,
                definition,
                watches: new Set(), // those who want it
                isHeld: false, // the server watches it, or was asked to
                isSaved: false, // the server watches it for a saved subscription
                isAnswered: false, // known is from this connection
                known: undefined, // the server's last record
                shown: undefined, // the record that was told
            };
            topics.set(user, topic);
        }

        return topic;
    }

    #want(user, definition, watch) {
        const topic = this.#findOrAdd(user, definition);
        if (topic.watches.size === 0)
            this.#watched++;
        topic.watches.add(watch);
        this.#soil(topic);
    }

    #release(user, definition, watch) {
        const topic = this.#find(user, definition);
        if (!topic?.watches.delete(watch) || topic.watches.size > 0)
            return;
        this.#watched--;
        this.#soil(topic);
    }

    // Tells those who watch it, if there is anything new to tell.
    #show(topic) {
        const { known, shown: previous } = topic;
        if (!known)
            return;
        const record = this.#isCurrent && topic.isAnswered ? known : unknown(topic.user, known.last_seen);
        if (previous && previous.status === record.status && previous.last_seen === record.last_seen)
            return;
        topic.shown = record;
        for (const watch of [...topic.watches])
            watch.hear(record);
        this.#changed(record, previous, topic.definition);
    }

    // This topic may not be as the server has it. The first is told at once, with all that the caller does in this turn; what follows closely is gathered.
    #soil(topic) {
        this.#dirty.add(topic);
        if (this.#dirty.size > 1)
            return;
        const waitMs = this.#flushedAt + FLUSH_INTERVAL_MS - performance.now();
        if (waitMs > 0)
            this.#flushTimer = setTimeout(() => this.#flush(), waitMs);
        else
            queueMicrotask(() => this.#flush());
    }

    #flush() {
        if (this.#dirty.size === 0)
            return;
        clearTimeout(this.#flushTimer);
        this.#flushedAt = performance.now();
        const lists = { unwatch: new Map(), watch: new Map() }; // definition → users
        for (const topic of this.#dirty) {
            const { user, definition, isHeld, isSaved } = topic;
            const isWanted = topic.watches.size > 0;
            if (this.#isConnected && isWanted !== isHeld && !(isSaved && !isWanted)) {
                const list = lists[isWanted ? 'watch' : 'unwatch'];
                list.set(definition, list.get(definition) ?? []);
                list.get(definition).push(user);
                topic.isHeld = isWanted;
            }

            if (!isWanted && !isSaved)
                this.#definitions.get(definition).delete(user);
        }

        this.#dirty.clear();
        // unwatch first: together they might be over the server's limit
        for (const [type, list] of Object.entries(lists)) {
            for (const [definition, users] of list) {
                for (const part of split(users))
                    this.#send({ type, users: part, definition });
            }
        }
    }
}

// Lists that fit a message each.
function split(users) {
    const parts = [];
    let room = 0;
    for (const user of users) {
        const bytes = bytesOf(JSON.stringify(user)) + 1;
        if (bytes > room) {
            parts.push([]);
            room = MAX_LIST_BYTES;
        }

        room -= bytes;
        parts.at(-1).push(user);
    }

    return parts;
}

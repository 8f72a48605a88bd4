/**
 * Which users are watched on a connection, and what is known of them: the counterpart of the server's WatchHub.
 *
 *     watch, stop ─► dirty topics ─► flush ─► watch and unwatch messages ─► server
 *     server ─► answers and changes ─► known ─► shown (known, or unknown while the connection or the store is away) ─► Watches, onPresence
 *
 * A topic is one user under one definition. The client sends the server the difference between what is wanted and what was sent, not a log
 * of calls. So a watch that is stopped at once costs nothing, and a new connection requests all topics together.
 * A snapshot belongs to the watch message whose ID it repeats. Until the newest watch of a topic is answered, records of that topic are
 * ignored: an earlier record may be the answer to an older watch that has ended.
 */
import { Watch, unknown } from './watch.js';
import { bytesOf } from './users.js';

// the limit of users on one connection; messages are limited to 64 KiB, so a list leaves room for the rest of its message
const MAX_WATCHES = 10_000;
const MAX_LIST_BYTES = 65_000;

// the server accepts 50 messages a second; a page that watches row by row while it scrolls sends ten
const FLUSH_INTERVAL_MS = 100;

export class Topics {
    #requests;
    #changed;
    #definitions = new Map(); // definition → user → topic
    #watched = 0; // topics that a Watch wants
    #dirty = new Set();
    #flushTimer;
    #flushedAt = -Infinity;
    #isConnected = false;
    #hasAnswer = false; // everything before the first answer is the snapshot of saved subscriptions

    /** `changed(record, previous, definition)` is called for every new shown record. */
    constructor(requests, changed) {
        this.#requests = requests;
        this.#changed = changed;
    }

    /** Creates a watch. It receives what is already known a moment later, when the caller has the watch. */
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
                    watch.receive(topic.shown);
            }
        });
        if (users.length === 0)
            watch.stop();
        return watch;
    }

    /** Takes users out of every watch. The server stops sending them even if they are saved subscriptions. */
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

    /** Connected: requests every topic again. */
    connect() {
        this.#isConnected = true;
        this.#all().forEach((topic) => this.#dirty.add(topic));
        this.#flush();
    }

    /** The connection is lost, with all its messages and answers. */
    disconnect() {
        this.#isConnected = this.#hasAnswer = false;
        for (const topic of this.#all()) {
            topic.isHeld = topic.isCurrent = topic.isStale = false;
            topic.pending = undefined;
            this.#show(topic);
            topic.isSaved = false;
            this.#soil(topic);
        }
    }

    /**
     * True: the server's store is lost. Earlier records are no longer valid; new ones are. False: the store is back, and the last records
     * are valid again.
     */
    setStale(isStale) {
        for (const topic of this.#all()) {
            topic.isStale = isStale;
            this.#show(topic);
        }
    }

    /** Stops every watch. */
    stop() {
        for (const topic of this.#all())
            topic.watches.forEach((watch) => watch.stop());
        clearTimeout(this.#flushTimer);
    }

    /** Handles a presence message that answers no request: the snapshot of saved subscriptions, or changes. */
    receive({ users, definition }) {
        for (const record of users) {
            const { user_id } = record;
            let topic = this.#find(user_id, definition);
            // a user without a topic is a saved subscription, and so is every user before the first answer
            if (!topic || !this.#hasAnswer) {
                topic ??= this.#add(user_id, definition);
                topic.isSaved = topic.isHeld = true;
            } else if (topic.pending) {
                continue; // its answer will come
            }

            this.#learn(topic, record);
        }
    }

    #all() {
        return [...this.#definitions.values()].flatMap((topics) => [...topics.values()]);
    }

    #find(user, definition) {
        return this.#definitions.get(definition)?.get(user);
    }

    #add(user, definition) {
        let topics = this.#definitions.get(definition);
        if (!topics)
            this.#definitions.set(definition, (topics = new Map()));
        const topic = {
            user,
            definition,
            watches: new Set(), // the watches that want it
            isHeld: false, // whether the server watches it, or was asked to
            isSaved: false, // whether the server watches it for a saved subscription
            pending: undefined, // the newest message about it, until it is answered
            isCurrent: false, // whether `known` is from this connection
            isStale: false, // whether `known` is from before the store was lost
            known: undefined, // the server's last record
            shown: undefined, // the record that callers last received
        };
        topics.set(user, topic);
        return topic;
    }

    #want(user, definition, watch) {
        const topic = this.#find(user, definition) ?? this.#add(user, definition);
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

    #learn(topic, record) {
        topic.known = record;
        topic.isCurrent = true;
        topic.isStale = false;
        this.#show(topic);
    }

    // Sends the watches of this topic the record, if it is new.
    #show(topic) {
        const { known, shown: previous, watches, isSaved } = topic;
        if (!known || (watches.size === 0 && !isSaved))
            return;
        const record = topic.isCurrent && !topic.isStale ? known : unknown(topic.user, known.last_seen);
        if (previous && JSON.stringify(previous) === JSON.stringify(record))
            return;
        topic.shown = record;
        for (const watch of [...watches])
            watch.receive(record);
        this.#changed(record, previous, topic.definition);
    }

    // Marks a topic that may differ from the server's. The first one is sent at once, with all others of the same turn. Those that follow
    // within the interval are sent together.
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
        const lists = { unwatch: new Map(), watch: new Map() }; // definition → topics
        for (const topic of this.#dirty) {
            const { definition, isHeld, isSaved } = topic;
            const isWanted = topic.watches.size > 0;
            if (this.#isConnected && isWanted !== isHeld && !(isSaved && !isWanted)) {
                const list = lists[isWanted ? 'watch' : 'unwatch'];
                list.set(definition, list.get(definition) ?? []);
                list.get(definition).push(topic);
                topic.isHeld = isWanted;
            } else {
                this.#forget(topic);
            }
        }

        this.#dirty.clear();
        // unwatch first, because both together might exceed the server's limit
        for (const [type, list] of Object.entries(lists)) {
            for (const [definition, topics] of list) {
                for (const part of split(topics))
                    this.#request(type, definition, part);
            }
        }
    }

    #request(type, definition, topics) {
        const request = {};
        for (const topic of topics) {
            topic.pending = request;
            // the server sends no more changes of this topic
            if (type === 'unwatch') {
                topic.known = topic.shown = undefined;
                topic.isCurrent = false;
            }
        }

        this.#requests.send({ type, users: topics.map(({ user }) => user), definition }, (answer) => {
            this.#hasAnswer ||= answer?.type === 'presence';
            for (const topic of topics) {
                // a newer message was sent in the meantime
                if (topic.pending !== request)
                    continue;
                topic.pending = undefined;
                if (!answer)
                    topic.isHeld = !topic.isHeld; // the server did not do it
                if (!answer || type === 'unwatch')
                    this.#soil(topic);
            }

            for (const record of answer?.users ?? []) {
                const topic = this.#find(record.user_id, definition);
                if (topic && !topic.pending)
                    this.#learn(topic, record);
            }
        });
    }

    // Forgets a topic that no watch wants and that the server no longer sends.
    #forget({ user, definition, watches, isSaved, pending }) {
        if (watches.size === 0 && !isSaved && !pending)
            this.#definitions.get(definition).delete(user);
    }
}

// Splits a list into parts that fit into one message each.
function split(topics) {
    const parts = [];
    let room = 0;
    for (const topic of topics) {
        const bytes = bytesOf(JSON.stringify(topic.user)) + 1;
        if (bytes > room) {
            parts.push([]);
            room = MAX_LIST_BYTES;
        }

        room -= bytes;
        parts.at(-1).push(topic);
    }

    return parts;
}

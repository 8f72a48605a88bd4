/**
 * `@aglow/client`: who is online, as it changes, in a browser or in Node.
 *
 *     import { connect } from '@aglow/client';
 *
 *     const connection = connect({ url: 'https://presence.example', user: 42 });
 *     connection.watch([1, 2, 'bob'], (record) => paint(record.user_id, record.status));
 *
 * Being connected is being online: there is nothing to send and no timer to keep, also in a background tab, since it is the server that pings.
 */

/** A user: an integer from 0 to 4294967295, or a key (a name, a UUID, a snowflake as text) of 1 to 128 bytes. */
export type UserId = number | string;

/**
 * What a user is shown as. `unknown` is said by this client, never by the server: nothing was heard yet, or the connection or the server's store
 * is away.
 */
export type Status = 'online' | 'away' | 'busy' | 'offline' | 'unknown';

/** What a user may choose to be shown as: `auto` goes by heartbeats and activity, `online` is never away for idleness, `offline` is "appear offline". */
export type ManualStatus = 'auto' | 'online' | 'away' | 'busy' | 'offline';

/** One user as they are now. Never changed in place: who has changed has a new record. */
export interface PresenceRecord {
    /** As it was asked for: a number, or the text. */
    readonly user_id: UserId;
    /** True for online, away and busy; null where the status is `unknown`. */
    readonly is_online: boolean | null;
    readonly status: Status;
    /** Seconds since 1970-01-01 UTC; null for who was never seen, or does not show it. Where the status is `unknown`, the last that was heard. */
    readonly last_seen: number | null;
    /** About when, where a user does not show it exactly. */
    readonly last_seen_about?: 'recently' | 'this week' | 'this month' | 'long ago';
}

/** What a connection is doing. */
export type ConnectionState =
    /** Not connected yet, or not any more: it is being tried again. Whoever is watched is `unknown`. */
    | 'connecting'
    /** Connected: this user is online, and changes come in as they happen. */
    | 'open'
    /** Connected, but the server cannot read its store at the moment. Whoever is watched is `unknown`. */
    | 'stale'
    /** Left or closed, for good. */
    | 'closed';

/** What went wrong, in words: an `error` message of the server's, or why there is no connection. */
export interface Problem {
    readonly title: string;
    /** What to do instead. */
    readonly detail: string;
}

/** Called with each user who changed; `previous` is what was last said of them, undefined the first time. */
export type PresenceCallback = (record: PresenceRecord, previous: PresenceRecord | undefined) => void;

/** What "online" means where it is not the default: the name of a definition that the server's operator declared. */
export interface DefinitionOptions {
    definition?: string;
}

/** Where the server is, and who calls. */
export interface ServerOptions {
    /** The server's address, `https://presence.example`; in a browser, the page's own origin where it is not given. */
    url?: string | URL;
    /** Who calls, where the server asks for no proof (its open mode). */
    user?: UserId;
    /** Who calls, with proof. A function is called anew for every connection and call, and before the token of an open connection ends. */
    token?: string | (() => string | Promise<string>);
    /** Called in place of the global `fetch`. */
    fetch?: typeof fetch;
}

/** How to connect. A `user` or a `token` is needed; all else may be left out. */
export interface ConnectOptions extends ServerOptions {
    /**
     * The class used in place of the global `WebSocket`, which Node has had since version 22. In 20 and 21: `node --experimental-websocket`, or the class
     * of the `ws` package here.
     */
    WebSocket?: new (url: string, protocols?: string[]) => unknown;
    /**
     * Whether a `token` stands in the socket's URL (`?access_token=`), where whatever stands before the server may log it. False where it is not given: then it is offered as a
     * subprotocol, which is not logged. For servers of your own that read it there.
     */
    tokenInUrl?: boolean;
    /** Whether pointer, keys and the page being shown are reported as activity, at most every 30 s. True where it is not given; only browsers have them. */
    reportActivity?: boolean;
    /** The first wait before connecting again is between 0 and this; each further one may be twice as long. 1000. */
    minBackoffMs?: number;
    /** No wait before connecting again is longer than this. 30000. */
    maxBackoffMs?: number;
}

/**
 * Some users, watched. An async iterable of records: first of each as they are, then of whoever changes, always the latest: who reads slowly is
 * told less often, not later. Leaving the loop stops the watch.
 */
export interface Watch extends AsyncIterable<PresenceRecord> {
    /** The latest record: `unknown` until one was heard, undefined for who is not in this watch. */
    get(user: UserId): PresenceRecord | undefined;
    /** The latest records of all, by user as given, in the order given. A new map each time. */
    readonly records: ReadonlyMap<UserId, PresenceRecord>;
    /** Stops: no more calls, and loops end. The server is told only of users whom no other watch wants. */
    stop(): void;
}

/** One socket to the server, which is made anew whenever it is lost. */
export interface Connection extends ServerCalls {
    /** What it is doing. */
    readonly state: ConnectionState;

    /** Calls back with each change of {@link state}. Returns a function that ends it, as do the other `on…`. */
    onState(callback: (state: ConnectionState, previous: ConnectionState) => void): () => void;

    /**
     * Watches one user or many (10,000 in all watches of a connection). Any number of watches of a user cost the server one.
     * Throws TypeError for what is not a user and RangeError beyond the limit, and then watches nobody.
     */
    watch(users: UserId | Iterable<UserId>, callback?: PresenceCallback, options?: DefinitionOptions): Watch;
    watch(users: UserId | Iterable<UserId>, options: DefinitionOptions): Watch;

    /**
     * Takes users out of every watch, and, until the next connection, out of what the server watches for saved subscriptions. A watch left with nobody
     * stops.
     */
    unwatch(users: UserId | Iterable<UserId>, options?: DefinitionOptions): void;

    /** Calls back with each change of anyone in any watch, and with the users this user follows (saved subscriptions), whom the server watches by itself. */
    onPresence(callback: (record: PresenceRecord, previous: PresenceRecord | undefined, definition: string | undefined) => void): () => void;

    /** Chooses what this user is shown as. Saved by the server, and sent when there is a connection again if there is none now. */
    setStatus(status: ManualStatus): void;

    /** Says that the person did something; sent at most every 30 s. Browsers report it by themselves, see {@link ConnectOptions.reportActivity}. */
    active(): void;

    /**
     * This device is gone: the user is offline at once if it was their last. The connection goes and stays `closed`; the promise is kept when the
     * server has heard it, or after a second.
     */
    leave(): Promise<void>;

    /** Closes without a word: the user stays online until the lease runs out. The connection stays `closed`. */
    close(): void;

    /** Calls back with what went wrong. What nobody listens for is written to the console. */
    onError(callback: (problem: Problem) => void): () => void;
}

/** Calls over HTTP. They reject with an {@link AglowError}. */
export interface ServerCalls {
    /** The statuses of many users, by user as given, in the order given; asked for 1,000 at a time, one request after another. */
    status(users: UserId | Iterable<UserId>, options?: DefinitionOptions): Promise<Map<UserId, PresenceRecord>>;
    /** The status of one user. A user never seen is `offline`. */
    statusOf(user: UserId, options?: DefinitionOptions): Promise<PresenceRecord>;
    /**
     * One heartbeat, for those who do not hold a connection: of the `user` of the options, or of users whom the caller speaks for (10,000 at most).
     * The answer says in how many seconds to send the next.
     */
    heartbeat(users?: UserId | Iterable<UserId>, options?: { active?: boolean }): Promise<HeartbeatAnswer>;
}

/** What the server answers to a heartbeat. */
export interface HeartbeatAnswer {
    readonly status: 'success';
    readonly next_heartbeat_seconds: number;
    readonly offline_after_seconds: number;
}

/** A call that the server refused or that did not reach it. The message says what to do instead. */
export class AglowError extends Error {
    /** The HTTP status; 0 where there was no answer. */
    readonly status: number;
    readonly title: string;
    readonly detail: string;
    /** For 429 and 503: when to try again. */
    readonly retryAfterSeconds: number | undefined;
}

/** Connects, and stays connected until {@link Connection.leave} or {@link Connection.close}. Returns at once. */
export function connect(options: ConnectOptions): Connection;

/** The calls over HTTP alone, without a connection: `const { status, statusOf, heartbeat } = http({ url, user: 42 })`. */
export function http(options?: ServerOptions): ServerCalls;

/**
 * How long to wait before try number `attempt` (from 0) to connect again: "full jitter", evenly between 0 and a ceiling that doubles, so that a
 * hundred thousand clients who lost a server together do not come back together.
 */
export function backoffMs(attempt: number, minBackoffMs: number, maxBackoffMs: number, random?: () => number): number;

/**
 * `@aglow/client`: shows which users are online, as it changes, in a browser or in Node.
 *
 *     import { connect } from '@aglow/client';
 *
 *     const connection = connect({ url: 'https://presence.example', user: 42 });
 *     connection.watch([1, 2, 'bob'], (record) => paint(record.user_id, record.status));
 *
 * A user is online while connected. The server pings, so there is nothing to send and no timer to keep, even in a background tab.
 */

/** A user: an integer from 0 to 9007199254740991, or text (a name, a UUID, a longer number) of 1 to 255 bytes of UTF-8. */
export type UserId = number | string;

/**
 * The status that a user shows. The client sets `unknown`, never the server: no record has come yet, or the connection or the server's
 * store is lost.
 */
export type Status = 'online' | 'away' | 'busy' | 'offline' | 'unknown';

/**
 * The status that a user may choose. `auto` is computed from heartbeats and activity. `online` is never away because of idleness. `offline`
 * is "appear offline".
 */
export type ManualStatus = 'auto' | 'online' | 'away' | 'busy' | 'offline';

/** Details of a status. A detail that is left out is cleared, not taken from the previous status. */
export interface StatusDetails {
    /** At most 280 bytes of UTF-8. */
    readonly text?: string;
    /** At most 64 bytes of UTF-8. */
    readonly emoji?: string;
    /** The second at which the status ends, since 1970-01-01 UTC. */
    readonly until?: number;
    /** How long the status lasts, from when the server saves it. Use it instead of `until`. */
    readonly for_seconds?: number;
    /** The source of the claim. Default: `user`. */
    readonly source?: string;
    /** The source with the highest priority is shown. Default: 0. */
    readonly priority?: number;
}

/** The current presence of one user. Records are immutable: a user who changes gets a new record. */
export interface PresenceRecord {
    /** The ID that the caller used: a number or text. */
    readonly user_id: UserId;
    /** True for online, away and busy; null if the status is `unknown`. */
    readonly is_online: boolean | null;
    readonly status: Status;
    /**
     * Seconds since 1970-01-01 UTC; null if the user was never seen, or does not show it. If the status is `unknown`, the last value that
     * was received.
     */
    readonly last_seen: number | null;
    /** Roughly when the user was last seen, if they do not show the exact time. */
    readonly last_seen_about?: 'recently' | 'this week' | 'this month' | 'long ago';
    /** The text of the user's status, if there is one. */
    readonly text?: string;
    readonly emoji?: string;
    /** When the status ends by itself, in seconds since 1970-01-01 UTC. */
    readonly until?: number;
    /** The kinds of devices on which the user is online, where the server knows them. */
    readonly devices?: readonly string[];
    /** The newest activity, in seconds since 1970-01-01 UTC, if it is known and the user shows it. */
    readonly active_at?: number;
}

/** The state of a connection. */
export type ConnectionState =
    /** Not connected: the client tries again. All watched users are `unknown`. */
    | 'connecting'
    /** Connected: this user is online, and changes come in as they happen. */
    | 'open'
    /** Connected, but the server cannot read its store now. All watched users are `unknown`. */
    | 'stale'
    /**
     * The server itself refused this user or this token: see {@link Connection.reason}. The client does not try again until
     * {@link Connection.refresh}.
     */
    | 'refused'
    /** Left or closed, permanently. */
    | 'closed';

/** The outcome of a status: the server has saved it, or a newer one was chosen first. */
export type StatusOutcome = 'saved' | 'replaced';

/** The outcome of a leave: the server has confirmed it, or has not. Then the user goes offline when the lease expires (30 s). */
export type LeaveOutcome = 'left' | 'lease';

/** One of the user's devices. A leave names it, and ends no other. */
export interface Device {
    /**
     * Any text that stays the same. A browser creates one and keeps it for all of its tabs. Elsewhere a program creates one at its start.
     */
    id?: string;
    /** Default: `web` in browsers, `mobile` in React Native, `other` elsewhere. */
    kind?: 'desktop' | 'mobile' | 'web' | 'other';
}

/** React Native's `AppState`, or an object with the same interface. */
export interface AppStateLike {
    addEventListener(event: 'change', callback: (state: string) => void): { remove(): void };
}

/** A problem: an `error` message of the server, or why there is no connection. */
export interface Problem {
    readonly title: string;
    /** What to do instead. */
    readonly detail: string;
}

/** Called with each user who changed. `previous` is the last record before, undefined the first time. */
export type PresenceCallback = (record: PresenceRecord, previous: PresenceRecord | undefined) => void;

/** The name of a definition of "online" that the server's operator declared, if it is not the default. */
export interface DefinitionOptions {
    definition?: string;
}

/** The server's address and the caller. */
export interface ServerOptions {
    /**
     * The server's address, `https://presence.example`. Default in a browser: the page's own origin. Give a list if no balancer is in front
     * of the server's nodes. The client begins with the first address. It goes on to the next when one does not answer, has a failure of
     * its own (5xx), or asks the client to reconnect.
     */
    url?: string | URL | readonly (string | URL)[];
    /** The user that calls, if the server is in open mode. */
    user?: UserId;
    /**
     * The token of the caller. A function is called for every connection and call, and before the token of an open connection ends. For a
     * connection it is called at most once a second. It has 10 s. If it fails, the client calls it again later.
     */
    token?: string | (() => string | Promise<string>);
    /** This device, for the caller's own heartbeats and leave. Default: one per browser, or per program. */
    device?: Device;
    /** Called instead of the global `fetch`. */
    fetch?: typeof fetch;
}

/** How to connect. Either `user` or `token` is required; all else is optional. */
export interface ConnectOptions extends ServerOptions {
    /**
     * The class to use instead of the global `WebSocket`, which Node has had since version 22. In 20 and 21: `node
     * --experimental-websocket`, or the class of the `ws` package here.
     */
    WebSocket?: new (url: string, protocols?: string[]) => unknown;
    /** React Native's `AppState`: when the app is active again, the connection is checked. Browsers need nothing. */
    appState?: AppStateLike;
    /**
     * Puts a `token` into the socket's URL (`?access_token=`), where a proxy may log it. Default: false, which offers the token as a
     * subprotocol, and that is not logged. Use it for servers of your own that read the token from the URL.
     */
    tokenInUrl?: boolean;
    /**
     * Reports pointer, keys and the display of the page as activity, at most every 30 s. Default: true. Only browsers have these events.
     */
    reportActivity?: boolean;
    /**
     * The first wait before a reconnect is between 0 and this. The limit doubles with each try. Default: 1000. Tries are at least a second
     * apart in any case.
     */
    minBackoffMs?: number;
    /** The limit of any wait before a reconnect. Default: 30000. */
    maxBackoffMs?: number;
}

/**
 * A watch of some users. It is an async iterable of records: first the record of each user, then each change, always the latest. A slow
 * loop gets fewer records, not older ones. Leaving the loop stops the watch.
 */
export interface Watch extends AsyncIterable<PresenceRecord> {
    /** The latest record: `unknown` until the first one comes, undefined for a user who is not in this watch. */
    get(user: UserId): PresenceRecord | undefined;
    /** The latest records of all users, by user as given, in the order given. A new map each time. */
    readonly records: ReadonlyMap<UserId, PresenceRecord>;
    /** Stops the watch: callbacks and loops end. The server unwatches only users whom no other watch has. */
    stop(): void;
}

/** One socket to the server, opened again whenever it is lost. */
export interface Connection extends ServerCalls {
    /** The state of the connection. */
    readonly state: ConnectionState;

    /** Why the state is `refused`; undefined in all other states. */
    readonly reason: Problem | undefined;

    /** Calls back with each change of {@link state}. Returns a function that ends it, like the other `on…` functions. */
    onState(callback: (state: ConnectionState, previous: ConnectionState) => void): () => void;

    /**
     * Watches one user or many: at most 10,000 in all watches of a connection. Several watches of one user are a single watch for the
     * server. Throws TypeError for an invalid user ID and RangeError beyond the limit; then no user of the call is watched.
     */
    watch(users: UserId | Iterable<UserId>, callback?: PresenceCallback, options?: DefinitionOptions): Watch;
    watch(users: UserId | Iterable<UserId>, options: DefinitionOptions): Watch;

    /**
     * Takes users out of every watch. Users who are followed by saved subscriptions are also removed, until the next connection. A watch
     * that has no users left stops.
     */
    unwatch(users: UserId | Iterable<UserId>, options?: DefinitionOptions): void;

    /**
     * Calls back with each change of a user in any watch, and of the users whom this user follows (saved subscriptions). The server watches
     * the latter by itself.
     */
    onPresence(
        callback: (record: PresenceRecord, previous: PresenceRecord | undefined, definition: string | undefined) => void,
    ): () => void;

    /**
     * Chooses the status that this user shows, with its details. It is kept until the server has answered, and sent again on the next
     * connection if the answer is lost. Rejects with an {@link AglowError} if the server rejects it, or if the connection is refused or
     * closed. Throws TypeError for an invalid status or an unknown detail.
     */
    setStatus(status: ManualStatus, details?: StatusDetails): Promise<StatusOutcome>;

    /**
     * Reports activity of the person; sent at most every 30 s. Browsers report it automatically, see {@link ConnectOptions.reportActivity}.
     */
    active(): void;

    /**
     * Call this when the app runs again after it was suspended, or when the network has changed. It checks the connection, which is lost if
     * the server does not answer within 2 s. It also ends a wait before the next try. Not needed in browsers, nor with `appState` in React
     * Native. Use it with Electron's `powerMonitor`, and in Node.
     */
    resume(): void;

    /**
     * Tries again now, with a new token. Call it after a refusal, or when a person has signed in again. An open connection stays open with
     * the new token.
     */
    refresh(): void;

    /**
     * This device leaves: the user is offline at once if it was their last device. The connection becomes `closed`. Without an open socket,
     * an HTTP call sends the leave, and names this device. Never rejects. Further calls return the first one's promise.
     */
    leave(): Promise<LeaveOutcome>;

    /** Closes without leaving: the user stays online until the lease expires. The connection stays `closed`. */
    close(): void;

    /** Calls back with each problem. Without a listener, problems are written to the console. */
    onError(callback: (problem: Problem) => void): () => void;
}

/** Calls over HTTP. They reject with an {@link AglowError}. */
export interface ServerCalls {
    /** The statuses of many users, by user as given, in the order given. Sends 1,000 users per request, one request after another. */
    status(users: UserId | Iterable<UserId>, options?: DefinitionOptions): Promise<Map<UserId, PresenceRecord>>;
    /** The status of one user. A user never seen is `offline`. */
    statusOf(user: UserId, options?: DefinitionOptions): Promise<PresenceRecord>;
    /**
     * Sends one heartbeat, for clients without a connection: of the caller on this device, or of users whom the caller speaks for (at most
     * 10,000), without a device. The answer says in how many seconds to send the next.
     */
    heartbeat(users?: UserId | Iterable<UserId>, options?: { active?: boolean }): Promise<HeartbeatAnswer>;
}

/** The server's answer to a heartbeat. */
export interface HeartbeatAnswer {
    readonly status: 'success';
    readonly next_heartbeat_seconds: number;
    readonly offline_after_seconds: number;
}

/** A call or command that the server rejected, or that did not reach it. The message says what to do instead. */
export class AglowError extends Error {
    /** The HTTP status; 0 if there was no answer. */
    readonly status: number;
    /** The problem's type: `urn:aglow:…` if the server itself answered. */
    readonly type: string | undefined;
    readonly title: string;
    readonly detail: string;
    /** For 429 and 503: when to try again. */
    readonly retryAfterSeconds: number | undefined;
}

/** Connects, and stays connected until {@link Connection.leave} or {@link Connection.close}. Returns at once. */
export function connect(options: ConnectOptions): Connection;

/** Only the calls over HTTP, without a connection: `const { status, statusOf, heartbeat } = http({ url, user: 42 })`. */
export function http(options?: ServerOptions): ServerCalls;

/**
 * How long to wait before try number `attempt` (from 0) to connect again. "Full jitter": uniform between 0 and a ceiling that doubles, so
 * that a hundred thousand clients that lost a server together do not come back together.
 */
export function backoffMs(attempt: number, minBackoffMs: number, maxBackoffMs: number, random?: () => number): number;

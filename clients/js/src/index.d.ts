/**
 * `@aglow/client`: who is online, as it changes, in a browser or in Node.
 *
 *     import { connect } from '@aglow/client';
 *
 *     const connection = connect({ url: 'https://presence.example', user: 42 });
 *     connection.watch([1, 2, 'bob'], (record) => paint(record.user_id, record.status));
 *
 * Being connected is being online: there is nothing to send and no timer to keep, also in a background tab, since it is the server that
 * pings.
 */

/** A user: an integer from 0 to 9007199254740991, or text (a name, a UUID, a longer number) of 1 to 255 bytes of UTF-8. */
export type UserId = number | string;

/**
 * What a user is shown as. `unknown` is said by this client, never by the server: nothing was heard yet, or the connection or the server's
 * store is away.
 */
export type Status = 'online' | 'away' | 'busy' | 'offline' | 'unknown';

/**
 * What a user may choose to be shown as: `auto` goes by heartbeats and activity, `online` is never away for idleness, `offline` is "appear
 * offline".
 */
export type ManualStatus = 'auto' | 'online' | 'away' | 'busy' | 'offline';

/** What a status says besides its word. What is left out is not kept from the status before. */
export interface StatusDetails {
    /** At most 280 bytes of UTF-8. */
    readonly text?: string;
    /** At most 64 bytes of UTF-8. */
    readonly emoji?: string;
    /** The second at which the status ends, since 1970-01-01 UTC. */
    readonly until?: number;
    /** How long the status lasts from the moment at which the server takes it; in place of `until`. */
    readonly for_seconds?: number;
    /** Whose claim it is; `user` where it is left out. */
    readonly source?: string;
    /** Of several sources the highest is shown; 0 where it is left out. */
    readonly priority?: number;
}

/** One user as they are now. Never changed in place: who has changed has a new record. */
export interface PresenceRecord {
    /** As it was asked for: a number, or the text. */
    readonly user_id: UserId;
    /** True for online, away and busy; null where the status is `unknown`. */
    readonly is_online: boolean | null;
    readonly status: Status;
    /**
     * Seconds since 1970-01-01 UTC; null for who was never seen, or does not show it. Where the status is `unknown`, the last that was
     * heard.
     */
    readonly last_seen: number | null;
    /** About when, where a user does not show it exactly. */
    readonly last_seen_about?: 'recently' | 'this week' | 'this month' | 'long ago';
    /** What the user says about their status, where they say something. */
    readonly text?: string;
    readonly emoji?: string;
    /** Until when, in seconds since 1970-01-01 UTC, where the status ends by itself. */
    readonly until?: number;
    /** The kinds of devices on which the user is online, where the server knows them. */
    readonly devices?: readonly string[];
    /** The newest activity, in seconds since 1970-01-01 UTC, where it is known and may be shown. */
    readonly active_at?: number;
}

/** What a connection is doing. */
export type ConnectionState =
    /** Not connected: the client tries again. All watched users are `unknown`. */
    | 'connecting'
    /** Connected: this user is online, and changes come in as they happen. */
    | 'open'
    /** Connected, but the server cannot read its store now. All watched users are `unknown`. */
    | 'stale'
    /**
     * The server itself refused this user or this token: see {@link Connection.reason}. Nothing is tried until {@link Connection.refresh}.
     */
    | 'refused'
    /** Left or closed, for good. */
    | 'closed';

/** What became of a status: the server has it, or another one was chosen before. */
export type StatusOutcome = 'saved' | 'replaced';

/** What became of a leave: the server has heard it, or it has not, and the user is offline when the lease expires (30 s). */
export type LeaveOutcome = 'left' | 'lease';

/** A device of the user's. A leave names it, and ends no other. */
export interface Device {
    /** Any text that stays the same. A browser makes one and keeps it for all of its tabs; elsewhere a program makes one when it starts. */
    id?: string;
    /** `web` in browsers, `mobile` in React Native, `other` elsewhere, where it is not given. */
    kind?: 'desktop' | 'mobile' | 'web' | 'other';
}

/** React Native's `AppState`, or anything like it. */
export interface AppStateLike {
    addEventListener(event: 'change', callback: (state: string) => void): { remove(): void };
}

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
    /**
     * Who calls, with proof. A function is called for every connection and call, and before the token of an open connection ends: at most
     * once a second for a connection. It has 10 s. Where it fails, it is called again later.
     */
    token?: string | (() => string | Promise<string>);
    /** Called in place of the global `fetch`. */
    fetch?: typeof fetch;
}

/** How to connect. A `user` or a `token` is needed; all else may be left out. */
export interface ConnectOptions extends ServerOptions {
    /**
     * The class used in place of the global `WebSocket`, which Node has had since version 22. In 20 and 21: `node
     * --experimental-websocket`, or the class of the `ws` package here.
     */
    WebSocket?: new (url: string, protocols?: string[]) => unknown;
    /** This device. Where it is not given: one per browser, or per program. */
    device?: Device;
    /** React Native's `AppState`: the connection is checked when the app is active again. Browsers need nothing. */
    appState?: AppStateLike;
    /**
     * Whether a `token` stands in the socket's URL (`?access_token=`), where a proxy may log it. False where it is not given: then it is
     * offered as a subprotocol, which is not logged. For servers of your own that read it there.
     */
    tokenInUrl?: boolean;
    /**
     * Whether pointer, keys and the page being shown are reported as activity, at most every 30 s. True where it is not given; only
     * browsers have them.
     */
    reportActivity?: boolean;
    /**
     * The first wait before connecting again is between 0 and this; each further one may be twice as long. 1000. Tries are a second apart
     * in any case.
     */
    minBackoffMs?: number;
    /** No wait before connecting again is longer than this. 30000. */
    maxBackoffMs?: number;
}

/**
 * A watch of some users. An async iterable of records: first one of each user, then one for each change, always the latest: who reads
 * slowly is told less often, not later. Leaving the loop stops the watch.
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

    /** Why the state is `refused`; undefined where it is not. */
    readonly reason: Problem | undefined;

    /** Calls back with each change of {@link state}. Returns a function that ends it, as do the other `on…`. */
    onState(callback: (state: ConnectionState, previous: ConnectionState) => void): () => void;

    /**
     * Watches one user or many (10,000 in all watches of a connection). Any number of watches of a user cost the server one.
     * Throws TypeError for what is not a user and RangeError beyond the limit, and then watches nobody.
     */
    watch(users: UserId | Iterable<UserId>, callback?: PresenceCallback, options?: DefinitionOptions): Watch;
    watch(users: UserId | Iterable<UserId>, options: DefinitionOptions): Watch;

    /**
     * Takes users out of every watch, and, until the next connection, out of what the server watches for saved subscriptions. A watch left
     * with nobody stops.
     */
    unwatch(users: UserId | Iterable<UserId>, options?: DefinitionOptions): void;

    /**
     * Calls back with each change of anyone in any watch, and with the users this user follows (saved subscriptions), whom the server
     * watches by itself.
     */
    onPresence(
        callback: (record: PresenceRecord, previous: PresenceRecord | undefined, definition: string | undefined) => void,
    ): () => void;

    /**
     * Chooses what this user is shown as, and what is said with it. It is kept until the server has answered, and sent again on the next
     * connection where the answer is lost. Rejects with an {@link AglowError} where the server rejects it, or the connection is refused or
     * closed. Throws TypeError for what is not a status.
     */
    setStatus(status: ManualStatus, said?: StatusDetails): Promise<StatusOutcome>;

    /**
     * Says that the person did something; sent at most every 30 s. Browsers report it by themselves, see {@link
     * ConnectOptions.reportActivity}.
     */
    active(): void;

    /**
     * The app runs again after it was suspended, or the network has changed: a connection is checked, and lost if the server says nothing
     * within 2 s; a wait before the next try ends. Browsers call it themselves; `appState` does in React Native. For Electron's
     * `powerMonitor`, and for Node.
     */
    resume(): void;

    /**
     * Tries again now, with a new token: after a refusal, after somebody has signed in again. An open connection is shown the new token.
     */
    refresh(): void;

    /**
     * This device is gone: the user is offline at once if it was their last. The connection is `closed`. Where there is none to say it on,
     * it is said by a call that names this device. Never rejects.
     */
    leave(): Promise<LeaveOutcome>;

    /** Closes without leaving: the user stays online until the lease expires. The connection stays `closed`. */
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
     * One heartbeat, for those who do not hold a connection: of the `user` of the options, or of users whom the caller speaks for (10,000
     * at most).
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

/** A call or command that the server rejected, or that did not reach it. The message says what to do instead. */
export class AglowError extends Error {
    /** The HTTP status; 0 where there was no answer. */
    readonly status: number;
    /** The problem's type: `urn:aglow:…` where the server itself answered. */
    readonly type: string | undefined;
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
 * How long to wait before try number `attempt` (from 0) to connect again: "full jitter", evenly between 0 and a ceiling that doubles, so
 * that a hundred thousand clients who lost a server together do not come back together.
 */
export function backoffMs(attempt: number, minBackoffMs: number, maxBackoffMs: number, random?: () => number): number;

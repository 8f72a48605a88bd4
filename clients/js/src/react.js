/**
 * `@aglow/client/react`: presence as a hook; what it offers is written down in react.d.ts.
 */
import { createContext, createElement, useContext, useMemo, useSyncExternalStore } from 'react';
import { unknown } from './watch.js';

const ConnectionContext = createContext(undefined);

export function PresenceProvider({ connection, children }) {
    return createElement(ConnectionContext.Provider, { value: connection }, children);
}

export function usePresence(users, options = {}) {
    const provided = useContext(ConnectionContext);
    const connection = options.connection === undefined ? provided : options.connection;
    if (connection === undefined)
        throw new Error('usePresence needs a connection: put <PresenceProvider connection={…}> around, or give it as usePresence(users, { connection }).');
    const { definition } = options;
    const isList = Array.isArray(users);
    const list = isList ? users : [users];
    // a component that writes the list out makes a new array each time: what counts is who is in it
    const store = useMemo(() => new WatchStore(connection, list, definition), [connection, JSON.stringify(list), definition]);
    const records = useSyncExternalStore(store.subscribe, store.read, store.readOnServer);
    return isList ? records : records.get(users);
}

// A watch as React reads it: from subscribe to its end, and a map that stays the same until somebody has changed.
class WatchStore {
    #nobodyHeard;
    #records;

    constructor(connection, users, definition) {
        this.#nobodyHeard = this.#records = new Map(users.map((user) => [user, unknown(user)]));
        this.subscribe = (changed) => {
            let isDue = false;
            // a message may change a thousand users: one rendering
            const watch = connection?.watch(users, () => {
                if (isDue)
                    return;
                isDue = true;
                queueMicrotask(() => {
                    isDue = false;
                    this.#records = watch.records;
                    changed();
                });
            }, { definition });
            return () => watch?.stop();
        };
        this.read = () => this.#records;
        this.readOnServer = () => this.#nobodyHeard;
    }
}

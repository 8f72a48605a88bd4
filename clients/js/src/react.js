'use client';
/** `@aglow/client/react`: presence as a React hook, documented in react.d.ts. */
import { createContext, createElement, useContext, useMemo, useSyncExternalStore } from 'react';
import { mistakeIn } from './users.js';
import { unknown } from './watch.js';

const ConnectionContext = createContext(undefined);

export function PresenceProvider({ connection, children }) {
    return createElement(ConnectionContext.Provider, { value: connection }, children);
}

export function usePresence(users, options = {}) {
    const provided = useContext(ConnectionContext);
    const connection = options.connection === undefined ? provided : options.connection;
    if (connection === undefined)
        throw new Error('usePresence needs a connection: put <PresenceProvider connection={…}> around, '
            + 'or give it as usePresence(users, { connection }).');
    const { definition } = options;
    const isList = Array.isArray(users);
    const list = isList ? users : [users];
    // a component may create a new array for each rendering, so only its users count
    const key = list.map((user) => `${typeof user} ${String(user)}`).join('\n');
    const store = useMemo(() => new WatchStore(connection, list, definition), [connection, key, definition]);
    const records = useSyncExternalStore(store.subscribe, store.read, store.readOnServer);
    return isList ? records : records.get(users);
}

// A watch as React reads it. The map stays the same object until a user changes.
class WatchStore {
    #allUnknown;
    #records;

    constructor(connection, users, definition) {
        this.#allUnknown = this.#records = new Map(users.map((user) => [user, unknown(user)]));
        this.subscribe = (changed) => {
            let isDue = false;
            let watch;
            const refresh = () => {
                isDue = false;
                if (!watch)
                    return;
                this.#records = new Map([...this.#allUnknown].map(([user, nothing]) => [user, watch.get(user) ?? nothing]));
                changed();
            };

            // an error here would make React unmount the whole page
            try {
                // one rendering for a message that changes a thousand users
                watch = connection?.watch(usersIn(users), () => {
                    if (!isDue)
                        queueMicrotask(refresh);
                    isDue = true;
                }, { definition });
            } catch (mistake) {
                console.error(`aglow: usePresence watches nobody: ${mistake.message}`);
            }

            return () => {
                watch?.stop();
                watch = undefined;
            };
        };
        this.read = () => this.#records;
        this.readOnServer = () => this.#allUnknown;
    }
}

// Lists are often rendered before all of their IDs are known. An empty ID is shown as unknown.
function usersIn(list) {
    return list.filter((user) => {
        const mistake = mistakeIn(user);
        if (mistake && user !== undefined && user !== null && user !== '')
            console.error(`aglow: usePresence: ${mistake}`);
        return !mistake;
    });
}

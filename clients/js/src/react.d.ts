/**
 * `@aglow/client/react`: presence as a React hook.
 *
 *     <PresenceProvider connection={connection}><Friends /></PresenceProvider>
 *
 *     const bob = usePresence('bob');               // a record
 *     const friends = usePresence(['ann', 'bob']);  // a map of records, in this order
 */
import type { ReactElement, ReactNode } from 'react';
import type { Connection, DefinitionOptions, PresenceRecord, UserId } from './index.js';

/** The connection for all components below it. With null every user is `unknown`, for instance before signing in. */
export function PresenceProvider(props: { connection: Connection | null; children?: ReactNode }): ReactElement;

/** Options of a watch in a component. */
export interface UsePresenceOptions extends DefinitionOptions {
    /** Instead of the provider's connection. */
    connection?: Connection | null;
}

/**
 * Watches one user while the component is mounted, and renders again when they change. The status is `unknown` at first, on the server, and
 * while there is no connection. It is also `unknown` while the user is undefined, null or an empty text.
 */
export function usePresence(user: UserId | null | undefined, options?: UsePresenceOptions): PresenceRecord;

/**
 * Watches users while the component is mounted. The list may be a new array each time; only its users count. An undefined, null or empty
 * user is `unknown`.
 */
export function usePresence<User extends UserId | null | undefined>(
    users: readonly User[],
    options?: UsePresenceOptions,
): ReadonlyMap<User, PresenceRecord>;

/**
 * `@aglow/client/react`: presence as a hook.
 *
 *     <PresenceProvider connection={connection}><Friends /></PresenceProvider>
 *
 *     const bob = usePresence('bob');               // a record
 *     const friends = usePresence(['ann', 'bob']);  // a map of records, in this order
 */
import type { ReactElement, ReactNode } from 'react';
import type { Connection, DefinitionOptions, PresenceRecord, UserId } from './index.js';

/** The connection of everything below it; null shows everybody as `unknown`, for instance before signing in. */
export function PresenceProvider(props: { connection: Connection | null; children?: ReactNode }): ReactElement;

/** How to watch from a component. */
export interface UsePresenceOptions extends DefinitionOptions {
    /** Instead of the provider's connection. */
    connection?: Connection | null;
}

/**
 * Watches one user while the component is mounted; renders again when they change. `unknown` at first, on the server, and while there is no
 * connection. undefined, null and an empty text are nobody yet, and unknown.
 */
export function usePresence(user: UserId | null | undefined, options?: UsePresenceOptions): PresenceRecord;

/**
 * Watches users while the component is mounted. The list may be a new array each time, because only its users count. An empty user is
 * unknown.
 */
export function usePresence<User extends UserId | null | undefined>(
    users: readonly User[],
    options?: UsePresenceOptions,
): ReadonlyMap<User, PresenceRecord>;

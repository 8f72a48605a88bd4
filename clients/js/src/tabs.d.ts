/**
 * `@aglow/client/tabs`: one connection for all tabs of an origin.
 *
 *     const connection = connect({ url, token, WebSocket: shareTabs('ann') });
 */

/**
 * A WebSocket class that shares one real socket among all tabs that use the same name. The socket is in a SharedWorker, or in a tab that a
 * Web Lock elects. Without both, each tab has its own socket. Use one name per signed-in user, because tabs of another user need another
 * connection.
 */
export function shareTabs(name: string): new (url: string, protocols?: string[]) => unknown;

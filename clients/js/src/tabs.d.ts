/**
 * `@aglow/client/tabs`: one connection for all tabs of an origin.
 *
 *     const connection = connect({ url, token, WebSocket: shareTabs('ann') });
 */

/**
 * A WebSocket class whose sockets are one in all tabs that give this name: in a SharedWorker, or else in the tab that is elected by a Web
 * Lock. Where there is neither, each tab has a socket of its own. The name says who is signed in: tabs of another person need a connection
 * of their own.
 */
export function shareTabs(name: string): new (url: string, protocols?: string[]) => unknown;

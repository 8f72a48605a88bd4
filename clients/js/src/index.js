/** `@aglow/client`, documented in index.d.ts. */
export { backoffMs } from './backoff.js';
export { connect } from './connection.js';
export { AglowError, http } from './server.js';

/** `@aglow/client`: index.d.ts documents it. */
export { backoffMs } from './backoff.js';
export { connect } from './connection.js';
export { AglowError, http } from './server.js';

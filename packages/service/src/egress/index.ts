export { type Document, type DownloadOptions, download } from './download.ts';
export { Egress } from './egress.ts';

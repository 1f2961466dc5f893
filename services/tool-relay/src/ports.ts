/** What every room needs and none declares. Other ports are declared by their users. */

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface Clock {
  /** Never steps: for limits and leases. */
  monotonicMs(): number;
  /** Time of day: for credentials and epochs. */
  unixMs(): number;
}

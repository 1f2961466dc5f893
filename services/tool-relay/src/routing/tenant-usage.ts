import type { TenantLimits } from '../config.ts';
import { Allowance } from '../limits/allowance.ts';

/** What the devices of one tenant hold and use together. */
export class TenantUsage {
  readonly limits: TenantLimits;
  readonly fromDevices: Allowance;
  readonly fromHosts: Allowance;
  calls = 0;

  constructor(limits: TenantLimits, nowMs: number) {
    this.limits = limits;
    this.fromDevices = new Allowance(limits, nowMs);
    this.fromHosts = new Allowance(limits, nowMs);
  }
}

/** A lease is a pin with an end, for what no operation under way stands for: `lease/<until>/<owner>`, by the site's clock. */
export const leaseOf = (owner: string, until: number): string => `lease/${until}/${owner}`;

function parseLease(pin: string): { readonly until: number; readonly owner: string } | undefined {
  const [, until, owner] = /^lease\/(\d{1,16})\/(.+)$/.exec(pin) ?? [];
  return until === undefined || owner === undefined ? undefined : { until: Number(until), owner };
}

/** The end of a lease; undefined for a pin that stays until it is taken back. */
export const leaseEnd = (pin: string): number | undefined => parseLease(pin)?.until;

/** Those that still hold. */
export function livePins(pins: readonly string[], now: number): readonly string[] {
  return pins.filter((pin) => (leaseEnd(pin) ?? Number.POSITIVE_INFINITY) > now);
}

/** Without the owner's leases. */
export const withoutLeases = (pins: readonly string[], owner: string): readonly string[] =>
  pins.filter((pin) => parseLease(pin)?.owner !== owner);

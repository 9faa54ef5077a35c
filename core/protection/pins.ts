/** A lease is a pin with an end, for views that nobody's operation stands for: `lease/<until>/<owner>`, by the site's clock. */
export const leaseOf = (owner: string, until: number): string => `lease/${until}/${owner}`;

/** The end of a lease; undefined for a pin that stays until it is taken back. */
export function leaseEnd(pin: string): number | undefined {
  const [, until] = /^lease\/(\d{1,16})\//.exec(pin) ?? [];
  return until === undefined ? undefined : Number(until);
}

/** Those that still hold. */
export function livePins(pins: readonly string[], now: number): readonly string[] {
  return pins.filter((pin) => (leaseEnd(pin) ?? Number.POSITIVE_INFINITY) > now);
}

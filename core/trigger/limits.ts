/** Bounds of triggers: what may start a failover, when, and what is kept of it. */
export const triggerLimits = {
  /** Looks in an unbroken chain that must all see silence before it counts: one or two may be the monitor's own trouble. */
  looksMin: 3,
  /** A chain of looks is broken by a gap of more than this many intervals: what wasn't watched is no evidence. */
  gapIntervalsMax: 2.5,
  /** Between two looks of the monitor. Embedded 5 s; on AWS a schedule's shortest interval is a minute. */
  lookEveryMsMin: 1000,
  lookEveryMsMax: 300_000,
  /** How long silence must last, after the first look that saw it. Below 10 s a restart of a gateway would count. */
  minimumDurationMsMin: 10_000,
  minimumDurationMsDefault: 300_000,
  minimumDurationMsMax: 86_400_000,
  coolDownMsDefault: 3_600_000,
  coolDownMsMax: 30 * 86_400_000,
  /** What a person approved must still be true: an approval is for this outage and not for next week's. */
  approvalExpiryMsMin: 60_000,
  approvalExpiryMsDefault: 4 * 3_600_000,
  approvalExpiryMsMax: 7 * 86_400_000,
  priorityMax: 100,
  priorityDefault: 50,
  /** VPGs that one VPG may wait for. */
  dependenciesMax: 32,
  /** Names that an event is matched with: alarms, sources, regions. */
  namesMax: 16,
  nameCharactersMax: 256,
  /** A written acceptance says more than "yes". */
  acceptanceCharactersMin: 20,
  acceptanceCharactersMax: 1000,
  /** An event raises suspicion for this long, and one older than this when it comes is refused. */
  hintMs: 900_000,
  /** An event dated further ahead than this has a clock that can't be believed. */
  eventAheadMsMax: 300_000,
  /** Events kept of a VPG; the oldest go. */
  hintsMax: 16,
  /** Sentences of evidence kept of an incident: all its events, and of a VPG with very many gateways only the first. */
  evidenceMax: 64,
  reasonCharactersMax: 500,
  /** EventBridge's own limit of an entry is 256 KiB; ours are a few hundred bytes. */
  eventBytesMax: 64 * 1024,
  /** Incidents that a list shows, the newest. */
  incidentsListed: 200,
  /** Notices delivered by one look; the rest wait for the next. */
  noticesPerLook: 100,
  /** Failovers that are brought up at the same time: each has views to open and VMs to boot at one recovery gateway. */
  concurrencyDefault: 4,
  concurrencyMax: 40,
  /** VPGs of one protected site: their record is one item of at most 400 KB, some 400 bytes a VPG. */
  siteVpgsMax: 500,
} as const;

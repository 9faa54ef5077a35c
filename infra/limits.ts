/** Bounds of a deployed site. */
export const infraLimits = {
  /** Lambda's and IAM's names have at most 64 characters: "farshore-", this, a hyphen, the longest folder. */
  siteNameCharactersMax: 30,
  /** Sites of one configuration file: each is a stack, and an app of more is slow to synthesize. */
  sitesMax: 100,
  /** A function's resource policy has at most 20 KB, of which a principal takes two statements of about 400 bytes. */
  principalsMax: 20,
  /** EventBridge takes so many targets of one rule. */
  ruleTargetsMax: 5,
  alarmEmailsMax: 10,
  /** An upload in parts that was begun and never ended is billed until somebody aborts it; a layer takes minutes. */
  multipartDays: 2,
  /** Versions of deleted layers are kept so long: the least that S3 takes. */
  replacedLayerDays: 1,
  /** Hashes and want-lists of delta-syncs expire: one that takes longer than this has long been given up. */
  syncObjectDays: 14,
  /** What no function could take is looked at by a person, who may be away for a long weekend; SQS keeps 14 days at most. */
  deadLetterDays: 14,
  /** An event that could not be delivered within this time is stale: the site monitor sees the same by itself. */
  eventAgeMinutes: 60,
  /** Minutes a reconciler's run may be late; then the next one has come. */
  scheduleAgeMinutes: 1,
} as const;

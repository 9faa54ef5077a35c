/** What a bench found: figures by scenario and subject, ratios, and the words that make sense of them. */

export interface Metric {
  readonly label: string;
  readonly unit: string;
  /** Digits behind the point; 0 by default. */
  readonly digits?: number;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** In the order they were measured. */
  readonly values: readonly number[];
}

export interface Figure extends Spread {
  readonly scenario: string;
  readonly subject: string;
  readonly metric: Metric;
}

export interface Ratio extends Spread {
  readonly scenario: string;
  readonly metric: string;
  readonly of: string;
  readonly to: string;
  readonly aim: Aim | undefined;
}

/** What one figure should be by itself. */
export interface Goal {
  readonly scenario: string;
  readonly subject: string;
  readonly metric: Metric;
  readonly aim: Aim;
  readonly median: number;
}

export interface Aim {
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** The JSON form. */
export interface FindingsRecord {
  readonly figures: readonly Figure[];
  readonly ratios: readonly Ratio[];
  readonly goals: readonly Goal[];
  readonly limits: readonly string[];
  readonly remarks: readonly string[];
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  const median = sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
  return { median, min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN, values };
}

export class Findings {
  readonly #values = new Map<string, { scenario: string; subject: string; metric: Metric; values: number[] }>();
  readonly #ratios: { scenario: string; metric: Metric; of: string; to: string; aim: Aim | undefined }[] = [];
  readonly #goals: Omit<Goal, "median">[] = [];
  readonly #limits: string[] = [];
  readonly #remarks: string[] = [];

  /** One measured value; those of one scenario, subject and metric are rounds in order. */
  add(scenario: string, subject: string, metric: Metric, value: number): void {
    const key = JSON.stringify([scenario, subject, metric.label]);
    const known = this.#values.get(key);
    if (known === undefined) this.#values.set(key, { scenario, subject, metric, values: [value] });
    else known.values.push(value);
  }

  /** The ratio of two subjects, taken round by round. */
  ratio(scenario: string, metric: Metric, of: string, to: string, aim?: Aim): void {
    this.#ratios.push({ scenario, metric, of, to, aim });
  }

  /** What a figure should be by itself. */
  goal(scenario: string, subject: string, metric: Metric, aim: Aim): void {
    this.#goals.push({ scenario, subject, metric, aim });
  }

  /** A physical limit of this machine, with its figure. */
  limit(text: string): void {
    this.#limits.push(text);
  }

  /** Why the figures are what they are. */
  remark(...lines: readonly string[]): void {
    this.#remarks.push(...lines);
  }

  /** What was measured of one kind so far. Throws when nothing was: a mistake of the bench. */
  spread(scenario: string, subject: string, metric: Metric): Spread {
    const known = this.#values.get(JSON.stringify([scenario, subject, metric.label]));
    if (known === undefined) throw new RangeError(`nothing was measured of ${scenario}, ${subject}, ${metric.label}`);
    return spreadOf(known.values);
  }

  record(): FindingsRecord {
    const figures = [...this.#values.values()].map((each) => ({ ...each, ...spreadOf(each.values) }));
    const ratios = this.#ratios.map(({ scenario, metric, of, to, aim }) => {
      const above = this.spread(scenario, of, metric).values;
      const below = this.spread(scenario, to, metric).values;
      const values = above.map((value, round) => value / (below[round] ?? Number.NaN));
      return { scenario, metric: metric.label, of, to, aim, ...spreadOf(values) };
    });
    const goals = this.#goals.map((goal) => {
      const { median } = this.spread(goal.scenario, goal.subject, goal.metric);
      return { ...goal, median };
    });
    return { figures, ratios, goals, limits: this.#limits, remarks: this.#remarks };
  }
}

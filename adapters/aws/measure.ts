import { Metrics, MetricUnit } from "@aws-lambda-powertools/metrics";
import type { SiteFigures } from "#core/recovery/site-figures.ts";

/** Where CloudWatch has a site's figures; infra/ draws graphs of them and rings when they are bad. */
export const metricNamespace = "Farshore";
export const metricNames = {
  vpgs: "Vpgs",
  vpgsNotMeetingSla: "VpgsNotMeetingSla",
  rpoMsMax: "RpoMsMax",
  backlogBytes: "BacklogBytes",
  operationsOpen: "OperationsOpen",
  alertsStanding: "AlertsStanding",
} as const satisfies Readonly<Record<keyof SiteFigures, string>>;

const units = {
  vpgs: MetricUnit.Count,
  vpgsNotMeetingSla: MetricUnit.Count,
  rpoMsMax: MetricUnit.Milliseconds,
  backlogBytes: MetricUnit.Bytes,
  operationsOpen: MetricUnit.Count,
  alertsStanding: MetricUnit.Count,
} as const;

/** Dimensions of all of a site's figures; six metrics a site, however many VPGs it has. */
export const metricDimensions = (siteName: string) => ({ service: "farshore", site: siteName });

/** Writes figures as a line that CloudWatch takes for metrics (embedded metric format): no call, and nothing that can fail. */
export function createMeasure(siteName: string): (figures: SiteFigures) => void {
  const { service, ...defaultDimensions } = metricDimensions(siteName);
  const metrics = new Metrics({ namespace: metricNamespace, serviceName: service, defaultDimensions });
  return ({ rpoMsMax, ...figures }) => {
    for (const name of ["vpgs", "vpgsNotMeetingSla", "backlogBytes", "operationsOpen", "alertsStanding"] as const)
      metrics.addMetric(metricNames[name], units[name], figures[name]);
    if (rpoMsMax !== null) metrics.addMetric(metricNames.rpoMsMax, units.rpoMsMax, rpoMsMax);
    metrics.publishStoredMetrics();
  };
}

import type { Command } from "commander";
import { incidentListSchema } from "#core/api/trigger-api.ts";
import { type Incident, incidentSchema } from "#core/trigger/incident.ts";
import { contextOf } from "../context.ts";
import { columns, fields, type Output, result, timeText } from "../output.ts";
import type { SiteClient } from "../site-client.ts";

export const fetchIncident = (client: SiteClient, id: string): Promise<Incident> =>
  client.get(`/v1/incidents/${encodeURIComponent(id)}`, incidentSchema);

export async function fetchIncidents(client: SiteClient, vpg: string | undefined): Promise<readonly Incident[]> {
  const query = new URLSearchParams(vpg === undefined ? {} : { vpg });
  return (await client.get(`/v1/incidents?${query}`, incidentListSchema)).incidents;
}

function approvalText({ approval }: Incident): string {
  if (approval === null) return "-";
  if (approval.decision === null) return `waits until ${timeText(approval.expiresAt)}`;
  const notes = approval.notes === "" ? "" : `: ${approval.notes}`;
  return `${approval.decision} by ${approval.by} at ${timeText(approval.at)}${notes}`;
}

export function printIncident(output: Output, incident: Incident): void {
  fields(output, [
    [
      "Incident",
      `${incident.incidentId} of ${incident.vpgName} (site ${incident.protectedSite}), term ${incident.term}`,
    ],
    ["State", incident.outcome === null ? incident.state : `${incident.state}: ${incident.outcome}`],
    ["From / to", `${timeText(incident.openedAt)} / ${timeText(incident.closedAt)}`],
    ["Reason", incident.reason],
    ["Approval", approvalText(incident)],
    ["Waits for", incident.waitsFor ?? "-"],
  ]);
  for (const line of incident.evidence) output.line(`Evidence: ${line}`);
  for (const { kind, text } of incident.notices) output.line(`Told (${kind}): ${text}`);
}

export function printIncidents(output: Output, incidents: readonly Incident[]): void {
  columns(
    output,
    ["INCIDENT", "VPG", "STATE", "OUTCOME", "OPENED", "REASON"],
    incidents.map((row) => [
      ...[row.incidentId, row.vpgName, row.state, row.outcome ?? "-", timeText(row.openedAt), row.reason],
    ]),
  );
}

export function registerIncident(program: Command): void {
  const incident = program.command("incident").description("Look at outages of sources and what came of them.");

  incident
    .command("list")
    .option("--vpg <vpg>", "only of this VPG")
    .description("List incidents, newest first.")
    .addHelpText("after", "\nExample:\n  farshore incident list --vpg shop\n")
    .action(async ({ vpg }: { readonly vpg?: string }, command: Command) => {
      const { output, client } = contextOf(command);
      const incidents = await fetchIncidents(client(), vpg);
      result(output, incidents, () => printIncidents(output, incidents));
    });

  incident
    .command("show")
    .argument("<id>", "the incident's id (farshore incident list)")
    .description("Show one incident: what was seen, who was told, what was started; its failover has the same id.")
    .addHelpText("after", "\nExample:\n  farshore incident show ID\n")
    .action(async (id: string, _options: unknown, command: Command) => {
      const { output, client } = contextOf(command);
      const shown = await fetchIncident(client(), id);
      result(output, shown, () => printIncident(output, shown));
    });
}

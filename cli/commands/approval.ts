import type { Command } from "commander";
import { incidentSchema } from "#core/trigger/incident.ts";
import { contextOf } from "../context.ts";
import { result } from "../output.ts";
import { fetchIncident, fetchIncidents, printIncident, printIncidents } from "./incident.ts";

export function registerApproval(program: Command): void {
  const approval = program
    .command("approval")
    .description("Answer incidents whose failover waits for an approver; an approval has its incident's id.");

  approval
    .command("list")
    .description("List the incidents that wait for an answer.")
    .addHelpText("after", "\nExample:\n  farshore approval list\n")
    .action(async (_options: unknown, command: Command) => {
      const { output, client } = contextOf(command);
      const waiting = (await fetchIncidents(client(), undefined)).filter(
        ({ state, approval: asked }) => state === "awaiting-approval" && asked?.decision === null,
      );
      result(output, waiting, () => printIncidents(output, waiting));
    });

  approval
    .command("show")
    .argument("<id>", "the incident's id (farshore incident list)")
    .description("Show what is to be approved: what the site saw and until when it can be answered.")
    .addHelpText("after", "\nExample:\n  farshore approval show ID\n")
    .action(async (id: string, _options: unknown, command: Command) => {
      const { output, client } = contextOf(command);
      const shown = await fetchIncident(client(), id);
      result(output, shown, () => printIncident(output, shown));
    });

  for (const [verb, decision, description] of [
    ["approve", "approved", "Let the failover start; it does at the site's next look, if the source is still silent"],
    ["reject", "rejected", "Close the incident without a failover; the next outage asks again"],
  ] as const) {
    approval
      .command(verb)
      .argument("<id>", "the incident's id (farshore incident list)")
      .option("--notes <text>", "for the report", "")
      .description(`${description}; takes an approver's token.`)
      .addHelpText("after", `\nExample:\n  farshore approval ${verb} ID --notes "the data centre is dark"\n`)
      .action(async (id: string, { notes }: { readonly notes: string }, command: Command) => {
        const { output, client } = contextOf(command);
        const path = `/v1/incidents/${encodeURIComponent(id)}/approval`;
        const answered = await client().post(path, incidentSchema, { decision, notes });
        result(output, answered, () => printIncident(output, answered));
      });
  }
}

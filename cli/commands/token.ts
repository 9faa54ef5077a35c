import { type Command, Option } from "commander";
import { z } from "zod";
import { roles, type TokenRole } from "#core/api/site-api.ts";
import { contextOf } from "../context.ts";
import { result } from "../output.ts";

const createdSchema = z.object({
  name: z.string(),
  role: z.string(),
  gatewayId: z.string().nullable(),
  token: z.string(),
});

export function registerToken(program: Command): void {
  const token = program.command("token").description("Make the tokens that people and gateways show to a site.");
  token
    .command("create")
    .addOption(new Option("--role <role>", "what its holder may do").choices(roles).makeOptionMandatory())
    .requiredOption("--name <name>", "whose it is; a gateway's token names the gateway")
    .description("Create a token; it is shown once and stored hashed.")
    .addHelpText(
      "after",
      "\nRoles:\n  viewer    sees everything, changes nothing\n  operator  runs failovers, creates VPGs and tokens\n  approver  approves failovers that events ask for\n  gateway   replicates its own VPGs; may not start an operation\n\nExample:\n  farshore token create --role gateway --name paris-gw\n",
    )
    .action(async (options: { readonly role: TokenRole; readonly name: string }, command: Command) => {
      const { output, client } = contextOf(command);
      const created = await client().post("/v1/tokens", createdSchema, { name: options.name, role: options.role });
      result(output, created, () => {
        output.note(`Token of ${created.role} ${created.name}; it is not shown again:`);
        output.line(created.token);
      });
    });
}

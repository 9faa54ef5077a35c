import { type Command, Option } from "commander";
import { createdTokenSchema, roles, type TokenRole } from "#core/api/site-api.ts";
import { contextOf } from "../context.ts";
import { result } from "../output.ts";

interface CreateOptions {
  readonly role: TokenRole;
  readonly name: string;
  readonly iamRole?: string;
}

export function registerToken(program: Command): void {
  const token = program
    .command("token")
    .description("Make people and gateways known to a site, by tokens or by IAM roles.");
  token
    .command("create")
    .addOption(new Option("--role <role>", "what its holder may do").choices(roles).makeOptionMandatory())
    .requiredOption("--name <name>", "whose it is; a gateway's token names the gateway")
    .option("--iam-role <arn>", "at a site on AWS: the IAM role or user to know by this name, in place of a token")
    .description("Create a token, which is shown once and stored hashed; or register an IAM role.")
    .addHelpText(
      "after",
      "\nRoles:\n  viewer    sees everything, changes nothing\n  operator  runs failovers, creates VPGs and tokens\n  approver  approves failovers that events ask for\n  gateway   replicates its own VPGs; may not start an operation\n  peer      a site that gives journals here in reverse protection; has the peer's own name\n\nExample:\n  farshore token create --role gateway --name paris-gw\n  farshore token create --role gateway --name paris-gw --iam-role arn:aws:iam::123456789012:role/paris-gw\n",
    )
    .action(async (options: CreateOptions, command: Command) => {
      const { output, client } = contextOf(command);
      const created = await client().post("/v1/tokens", createdTokenSchema, options);
      result(output, created, () => {
        if (created.token === undefined) {
          output.note(`${created.iamRole ?? ""} is ${created.role} ${created.name} now.`);
          return;
        }
        output.note(`Token of ${created.role} ${created.name}; it is not shown again:`);
        output.line(created.token);
      });
    });
}

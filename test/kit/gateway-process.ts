/** A gateway as a process of its own, to be killed: `node gateway-process.ts CONFIG`. Prints "ready" once its exports are there. */
import { runGateway } from "../../gateway/main.ts";

const gateway = await runGateway({ configFile: process.argv[2] ?? "" });
process.once("SIGTERM", () => void gateway.close());
await gateway.ready;
console.log("ready");

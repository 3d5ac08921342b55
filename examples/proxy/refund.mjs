// Refund an order through the guard, with Node's own fetch.
//
//   node refund.mjs http://127.0.0.1:7070/payments/effects order-7
//
// Exit status: 0 refunded, 1 refused, 3 nobody knows (a person must look), 4 gave
// up; after 4 run the same line again, it collects the answer or goes on.
import { setTimeout as sleep } from "node:timers/promises";

async function refund(url, order) {
  for (let tries = 0; tries < 100; tries++) {
    try {
      const response = await fetch(url, {
        method: "POST",
        // The key is the order's, on every try: never a new one after a failure.
        headers: { "Idempotency-Key": `refund-${order}`, "Content-Type": "application/json" },
        body: JSON.stringify({ op: order, amount: 500 }),
        signal: AbortSignal.timeout(30_000),
      });
      const answer = await response.text();
      if (response.ok) {
        console.log(answer);
        return 0;
      }
      if (answer.includes("problem:outcome-unknown")) {
        console.error(answer);
        return 3;
      }
      // The guard's own answers say what to do next.
      if (!answer.includes('"retry": "same-key"')) {
        console.error(answer);
        return 1;
      }
    } catch (error) {
      // Refused, reset, cut off, timed out: the same request again.
      console.error(`no answer: ${error.cause?.code ?? error.message}`);
    }
    await sleep(100);
  }
  return 4;
}

process.exitCode = await refund(process.argv[2], process.argv[3]);

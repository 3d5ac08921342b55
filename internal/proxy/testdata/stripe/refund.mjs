// Refunds through the npm package stripe, as its users do, and prints what they
// would learn: refund.mjs URL KEY RETRIES [charge]
import Stripe from 'stripe'

const [url, idempotencyKey, retries, what] = process.argv.slice(2)
const { hostname, port } = new URL(url)
const stripe = new Stripe('sk_test_canary', {
  host: hostname, port, protocol: 'http', maxNetworkRetries: Number(retries), telemetry: false,
})

try {
  const got = what === 'charge'
    ? await stripe.charges.create({ amount: 500, currency: 'eur', source: 'tok_1' }, { idempotencyKey })
    : await stripe.refunds.create({ charge: 'ch_1', amount: 500, metadata: { order: idempotencyKey } }, { idempotencyKey })
  console.log(JSON.stringify({ id: got.id ?? '', replayed: got.lastResponse.headers['idempotent-replayed'] === 'true' }))
} catch (e) {
  console.log(JSON.stringify({ error: e.type, code: e.code ?? '', status: e.statusCode ?? 0, message: e.message }))
}
// The SDK leaves the connection of a response that it retried open until its
// timeout, 80 s, and Node would wait for it.
process.exit()

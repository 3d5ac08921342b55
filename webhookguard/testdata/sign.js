// Signs payloads with the libraries that senders publish, and prints them as
// JSON. It runs in a directory whose node_modules holds them.
const stripe = require('stripe')
const { Webhook } = require('standardwebhooks')
const svix = require('svix')

const now = new Date()
const seconds = Math.floor(now.getTime() / 1000)
const base64 = 'whsec_' + Buffer.from('a secret of 32 bytes, as it were').toString('base64')

async function main() {
  const { sign, verify } = await import('@octokit/webhooks-methods')
  const out = []
  const payloads = [
    JSON.stringify({ id: 'evt_1', type: 'invoice.paid', created: seconds, timestamp: now.toISOString(), note: 'naïve ✓ \\u0000' }),
    JSON.stringify({ id: 'evt_2', type: 'invoice.paid', created: seconds, timestamp: now.toISOString() }, null, 2) + '\n',
  ]
  for (const body of payloads) {
    out.push({ source: 'stripe', secret: 'whsec_stripe', body, headers: {
      'Stripe-Signature': stripe.webhooks.generateTestHeaderString({ payload: body, secret: 'whsec_stripe' }),
    } })
    out.push({ source: 'standardwebhooks', secret: base64, body, headers: {
      'webhook-id': 'msg_1', 'webhook-timestamp': String(seconds), 'webhook-signature': new Webhook(base64).sign('msg_1', now, body),
    } })
    out.push({ source: 'svix', secret: base64, body, headers: {
      'svix-id': 'msg_2', 'svix-timestamp': String(seconds), 'svix-signature': new svix.Webhook(base64).sign('msg_2', now, body),
    } })
    const signature = await sign('github secret', body)
    if (!await verify('github secret', body, signature)) throw new Error('the library does not accept its own signature')
    out.push({ source: 'github', secret: 'github secret', body, headers: {
      'X-Hub-Signature-256': signature, 'X-GitHub-Delivery': '72d3162e-cc78-11e3-81ab-4c9367dc0958', 'X-GitHub-Event': 'push',
    } })
  }
  process.stdout.write(JSON.stringify(out))
}

main().catch((e) => { console.error(e); process.exit(1) })

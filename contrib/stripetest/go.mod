module github.com/onceguard/onceguard/contrib/stripetest

go 1.26.0

require (
	github.com/onceguard/onceguard v0.0.0
	github.com/stripe/stripe-go/v85 v85.0.0
)

replace github.com/onceguard/onceguard => ../..

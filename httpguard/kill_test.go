package httpguard_test

const roleEnv = "ONCEGUARD_HTTPGUARD_TEST_ROLE"

func playRole(string) int { return 0 }

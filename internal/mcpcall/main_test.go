package mcpcall_test

import (
	"os"
	"testing"

	"github.com/onceguard/onceguard/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

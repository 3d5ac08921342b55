// Command prog asks for a mutant and says whether it has it.
package main

import (
	"fmt"

	"github.com/onceguard/onceguard/internal/mutant"
)

func main() {
	if mutant.On("fail-open") {
		fmt.Println("the planted bug runs")
		return
	}
	fmt.Println("whole")
}

// Command prog passes failpoints and says how far it came.
package main

import (
	"fmt"

	"github.com/onceguard/onceguard/internal/fault"
)

func main() {
	done := make(chan string)
	go func() {
		end := "goexit"
		defer func() {
			if r := recover(); r != nil {
				end = fmt.Sprint("panic: ", r)
			}
			done <- end
		}()
		for i := 1; i <= 3; i++ {
			fault.Point("guard.claim.before")
			fmt.Println("passed", i)
		}
		if err := fault.PointErr("store.settle.after-commit"); err != nil {
			end = "error: " + err.Error()
			return
		}
		end = "end"
	}()
	fmt.Println(<-done)
}

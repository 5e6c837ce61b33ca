// What every container of the real node runs: nothing, until it is told to end, or, with the argument "stubborn", until it is killed.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	for range end {
		if len(os.Args) < 2 || os.Args[1] != "stubborn" {
			return
		}
	}
}

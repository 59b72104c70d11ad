// reader is containerd itself, as far as it reads what we write:
//
//	reader containerd --config FILE config dump   its whole configuration, with what FILE and its imports say
//	reader hosts DIRECTORY REGISTRY               the servers that it would ask for images of a registry, as JSON lines
//
// Both are containerd's own code, taken from its Go module.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	_ "github.com/containerd/containerd/v2/cmd/containerd/builtins"
	"github.com/containerd/containerd/v2/cmd/containerd/command"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "reader:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) > 1 && args[0] == "containerd":
		return command.App().Run(args)
	case len(args) == 3 && args[0] == "hosts":
		return hosts(args[1], args[2])
	default:
		return fmt.Errorf("usage: reader containerd ARGUMENTS... | reader hosts DIRECTORY REGISTRY")
	}
}

func hosts(directory, registry string) error {
	find := config.ConfigureHosts(context.Background(), config.HostOptions{HostDir: config.HostDirFromRoot(directory)})
	found, err := find(registry)
	if err != nil {
		return err
	}
	for _, host := range found {
		line, err := json.Marshal(map[string]any{
			"address": host.Scheme + "://" + host.Host + host.Path,
			"pull":    host.Capabilities.Has(docker.HostCapabilityPull),
			"push":    host.Capabilities.Has(docker.HostCapabilityPush),
			"header":  host.Header,
		})
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	return nil
}

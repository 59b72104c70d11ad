// azuresim is a small stateful Azure: Entra ID tokens and the parts of Resource Manager that make machines.
//
// Each subscription is a world of its own, which is there when it is first asked for. Microsoft publishes no server. What is Microsoft's here: the types that every request body and every answer must fit
// (armcompute, armnetwork, armresources), and, in azure_test.go, the clients and the long-running-operation pollers that
// read our answers. What is ours, from the documentation: states, codes, times, references between resources.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8990", "address")
	cert := flag.String("cert", "", "TLS certificate (PEM); empty: plain HTTP")
	key := flag.String("key", "", "its key")
	plain := flag.String("plain", "", "a second address, in plain HTTP; empty: none")
	s := newFront()
	flag.StringVar(&s.tenant, "tenant", "22222222-2222-2222-2222-222222222222", "the only tenant")
	flag.StringVar(&s.client, "client", "33333333-3333-3333-3333-333333333333", "the only client id")
	flag.StringVar(&s.secret, "secret", "secret", "its secret")
	flag.Parse()

	front := &http.Server{Addr: *listen, Handler: s, ReadHeaderTimeout: 10 * time.Second}
	if *plain != "" {
		second := &http.Server{Addr: *plain, Handler: s, ReadHeaderTimeout: 10 * time.Second}
		go func() { log.Fatal(second.ListenAndServe()) }()
	}
	go func() {
		var err error
		if *cert != "" {
			err = front.ListenAndServeTLS(*cert, *key)
		} else {
			err = front.ListenAndServe()
		}
		log.Fatal(err)
	}()
	fmt.Println("listening on", *listen)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
}

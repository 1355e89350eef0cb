// SPDX-License-Identifier: Apache-2.0

// main.go - the contender Hon: plaintext over HTTP/1.1 and an echo over WebSockets, which gobwas/ws reads within Hon's
// event loop as its README recommends; prints its port when it listens.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/DevNewbie1826/hon/pkg/adaptor"
	"github.com/DevNewbie1826/hon/pkg/engine"
	"github.com/DevNewbie1826/hon/pkg/server"
	"github.com/gobwas/ws"
)

const maxPayload = 64 << 20

func main() {
	// Hon tells of its start on the standard error, and to nobody which port it was given.
	log.SetOutput(io.Discard)
	address := freeAddress()
	mux := http.NewServeMux()
	mux.HandleFunc("/plaintext", plaintext)
	mux.HandleFunc("/ws", upgrade)
	failed := make(chan error, 1)
	go func() { failed <- server.NewServer(engine.NewEngine(mux)).Serve(address.String()) }()
	awaitListening(address.String(), failed)
	fmt.Println(address.Port)
	exit(<-failed)
}

func freeAddress() *net.TCPAddr {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		exit(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr)
}

func awaitListening(address string, failed <-chan error) {
	for {
		select {
		case err := <-failed:
			exit(err)
		default:
		}
		if connection, err := net.Dial("tcp4", address); err == nil {
			connection.Close()
			return
		}
	}
}

func exit(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func plaintext(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
	_, _ = io.WriteString(w, "Hello, World!")
}

func upgrade(w http.ResponseWriter, r *http.Request) {
	if _, _, _, err := ws.UpgradeHTTP(r, w); err != nil {
		return
	}
	w.(adaptor.Hijacker).SetReadHandler(func(_ net.Conn, rw *bufio.ReadWriter) error {
		return echo(rw)
	})
}

// Echoes all messages that have arrived, and sends the answers together.
func echo(rw *bufio.ReadWriter) error {
	for {
		header, err := ws.ReadHeader(rw.Reader)
		if err != nil {
			return err
		}
		if header.OpCode == ws.OpClose || header.Length > maxPayload {
			return io.EOF
		}
		payload := make([]byte, header.Length)
		if _, err := io.ReadFull(rw.Reader, payload); err != nil {
			return err
		}
		ws.Cipher(payload, header.Mask, 0)
		answer := ws.Header{Fin: true, OpCode: header.OpCode, Length: header.Length}
		if err := ws.WriteHeader(rw.Writer, answer); err != nil {
			return err
		}
		if _, err := rw.Writer.Write(payload); err != nil {
			return err
		}
		if rw.Reader.Buffered() == 0 {
			return rw.Writer.Flush()
		}
	}
}

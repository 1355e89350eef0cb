// SPDX-License-Identifier: Apache-2.0

// main.go - the contender gnet: plaintext over HTTP/1.1 and an echo over WebSockets, or with "tcp" an echo of bytes;
// prints its port when it listens. gnet has neither protocol: what a user of it writes is here, by gobwas/ws.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/gobwas/ws"
	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

const (
	plaintextHead = "HTTP/1.1 200 OK\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: 13\r\nDate: "
	plaintextBody = "\r\n\r\nHello, World!"
	notFound      = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
	httpDate      = "Mon, 02 Jan 2006 15:04:05 GMT"
	maxPayload    = 64 << 20
)

var (
	headEnd = []byte("\r\n\r\n")
	// As the load client writes it.
	connectionClose = []byte("\r\nConnection: close")
)

type server struct {
	gnet.BuiltinEventEngine
	tcp bool
	// What was written in one call of OnTraffic; there is one event loop.
	out  []byte
	date string
}

// The default logger writes to where the port is expected.
type quiet struct{}

func (quiet) Debugf(string, ...any) {}
func (quiet) Infof(string, ...any)  {}
func (quiet) Warnf(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(string, ...any) {}

// The protocol of a connection that is no longer HTTP.
type upgraded struct{}

func main() {
	s := &server{tcp: len(os.Args) > 1 && os.Args[1] == "tcp"}
	s.date = time.Now().UTC().Format(httpDate)
	err := gnet.Run(s, "tcp4://127.0.0.1:0", gnet.WithNumEventLoop(1), gnet.WithTicker(true),
		gnet.WithLogger(quiet{}), gnet.WithTCPNoDelay(gnet.TCPNoDelay))
	if err != nil {
		log.Fatal(err)
	}
}

func (s *server) OnBoot(engine gnet.Engine) gnet.Action {
	fd, err := engine.Dup()
	if err != nil {
		log.Fatal(err)
	}
	defer unix.Close(fd)
	address, err := unix.Getsockname(fd)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(address.(*unix.SockaddrInet4).Port)
	return gnet.None
}

func (s *server) OnTick() (time.Duration, gnet.Action) {
	s.date = time.Now().UTC().Format(httpDate)
	return time.Second, gnet.None
}

func (s *server) OnTraffic(c gnet.Conn) gnet.Action {
	s.out = s.out[:0]
	action := s.serve(c)
	if len(s.out) > 0 {
		if _, err := c.Write(s.out); err != nil {
			return gnet.Close
		}
	}
	return action
}

func (s *server) serve(c gnet.Conn) gnet.Action {
	if s.tcp {
		received, _ := c.Next(-1)
		s.out = append(s.out, received...)
		return gnet.None
	}
	if c.Context() == nil {
		return s.serveHTTP(c)
	}
	return s.serveFrames(c)
}

func (s *server) serveHTTP(c gnet.Conn) gnet.Action {
	for c.InboundBuffered() > 0 {
		received, _ := c.Peek(-1)
		end := bytes.Index(received, headEnd)
		if end < 0 {
			return gnet.None
		}
		switch target := target(received); {
		case bytes.Equal(target, []byte("/ws")):
			c.SetContext(upgraded{})
			if _, err := ws.Upgrade(c); err != nil {
				return gnet.Close
			}
			return gnet.None
		case bytes.Equal(target, []byte("/plaintext")):
			s.out = append(s.out, plaintextHead...)
			s.out = append(s.out, s.date...)
			s.out = append(s.out, plaintextBody...)
		default:
			s.out = append(s.out, notFound...)
		}
		if bytes.Contains(received[:end], connectionClose) {
			return gnet.Close
		}
		_, _ = c.Discard(end + len(headEnd))
	}
	return gnet.None
}

func target(head []byte) []byte {
	start := bytes.IndexByte(head, ' ') + 1
	length := bytes.IndexByte(head[start:], ' ')
	if length < 0 {
		return nil
	}
	return head[start : start+length]
}

func (s *server) serveFrames(c gnet.Conn) gnet.Action {
	for {
		header, size := readHeader(c)
		// A message of several reads is looked at when all of it is there: each look copies it.
		if size == 0 || header.Length > maxPayload || c.InboundBuffered() < size+int(header.Length) {
			return gnet.None
		}
		frame, _ := c.Next(size + int(header.Length))
		payload := frame[size:]
		ws.Cipher(payload, header.Mask, 0)
		switch header.OpCode {
		case ws.OpText, ws.OpBinary:
			s.echo(header, payload)
		case ws.OpClose:
			s.echo(header, payload)
			return gnet.Close
		}
	}
}

func (s *server) echo(header ws.Header, payload []byte) {
	s.out = append(s.out, 0x80|byte(header.OpCode))
	switch length := len(payload); {
	case length < 126:
		s.out = append(s.out, byte(length))
	case length <= 0xffff:
		s.out = binary.BigEndian.AppendUint16(append(s.out, 126), uint16(length))
	default:
		s.out = binary.BigEndian.AppendUint64(append(s.out, 127), uint64(length))
	}
	s.out = append(s.out, payload...)
}

// The header of a client's frame and its size, 0 when not all of it has come.
func readHeader(c gnet.Conn) (header ws.Header, size int) {
	buffered := c.InboundBuffered()
	if buffered < 2 {
		return header, 0
	}
	start, _ := c.Peek(2)
	header.OpCode = ws.OpCode(start[0] & 0x0f)
	length := start[1] & 0x7f
	size = 6
	switch length {
	case 126:
		size = 8
	case 127:
		size = 14
	}
	if buffered < size {
		return header, 0
	}
	bytes, _ := c.Peek(size)
	switch length {
	case 126:
		header.Length = int64(binary.BigEndian.Uint16(bytes[2:]))
	case 127:
		header.Length = int64(binary.BigEndian.Uint64(bytes[2:]))
	default:
		header.Length = int64(length)
	}
	copy(header.Mask[:], bytes[size-4:])
	return header, size
}

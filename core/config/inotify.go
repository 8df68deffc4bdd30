package config

import (
	"path/filepath"
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// inotify is the notifier over fsnotify. Events are folded into one: the scan
// that follows looks at everything, which is cheap and cannot miss.
type inotify struct {
	w      *fsnotify.Watcher
	events chan struct{}
	done   sync.WaitGroup
}

func newInotify() (notifier, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	n := &inotify{w: w, events: make(chan struct{}, 1)}
	n.done.Go(n.run)
	return n, nil
}

func (n *inotify) run() {
	for {
		select {
		case e, ok := <-n.w.Events:
			if !ok {
				return
			}
			if name := filepath.Base(e.Name); Ignored(name) && !strings.HasPrefix(name, "..") {
				continue // "..data" is how Kubernetes swaps a whole folder
			}
		case _, ok := <-n.w.Errors:
			if !ok {
				return
			}
			// A lost queue: something happened, nobody knows what. Look.
		}
		select {
		case n.events <- struct{}{}:
		default:
		}
	}
}

func (n *inotify) Add(dir string) error    { return n.w.Add(dir) }
func (n *inotify) Events() <-chan struct{} { return n.events }

func (n *inotify) Close() error {
	err := n.w.Close()
	n.done.Wait()
	return err
}

// noNotifier never tells anything.
type noNotifier struct{}

func (noNotifier) Add(string) error        { return nil }
func (noNotifier) Events() <-chan struct{} { return nil }
func (noNotifier) Close() error            { return nil }

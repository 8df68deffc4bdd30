package still

import "container/list"

// cache keeps the pictures used last, bounded in bytes. Not safe for concurrent use.
type cache struct {
	most  int // bytes of pictures
	bytes int
	order *list.List // of *cached, the one used last in front
	by    map[Shot]*list.Element
}

type cached struct {
	of   Shot
	jpeg []byte
}

func newCache(most int) cache {
	return cache{most: most, order: list.New(), by: map[Shot]*list.Element{}}
}

func (c *cache) get(of Shot) ([]byte, bool) {
	e, ok := c.by[of]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).jpeg, true
}

// put keeps a picture, unless it would push out most of the others.
func (c *cache) put(of Shot, jpeg []byte) {
	if _, there := c.by[of]; there || len(jpeg) > c.most/4 {
		return
	}
	c.by[of] = c.order.PushFront(&cached{of, jpeg})
	for c.bytes += len(jpeg); c.bytes > c.most; {
		e := c.order.Back()
		old := c.order.Remove(e).(*cached)
		delete(c.by, old.of)
		c.bytes -= len(old.jpeg)
	}
}

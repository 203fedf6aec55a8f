import sys
import threading
import unittest
from http.client import HTTPConnection
from json import load
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import basket  # noqa: E402
import shop  # noqa: E402


class BasketTest(unittest.TestCase):
    def test_a_basket_costs_what_is_in_it(self):
        self.assertEqual(basket.total_cents({"apple": 2, "bread": 1}), 350)

    def test_an_unknown_thing_is_an_error(self):
        with self.assertRaises(KeyError):
            basket.total_cents({"unicorn": 1})


class ShopTest(unittest.TestCase):
    def setUp(self):
        shop.Handler.version = "1.2.3"
        self.server = shop.Server(("127.0.0.1", 0), shop.Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,)).start()

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()

    def get(self, path):
        connection = HTTPConnection(*self.server.server_address)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, load(answer)

    def test_it_says_which_version_it_is(self):
        status, answer = self.get("/")
        self.assertEqual((status, answer["application"], answer["version"]), (200, "shop", "1.2.3"))

    def test_it_adds_up_a_basket(self):
        self.assertEqual(self.get("/total?coffee=2"), (200, {"cents": 1598}))

    def test_it_refuses_a_basket_that_makes_no_sense(self):
        self.assertEqual(self.get("/total?coffee=many")[0], 400)


if __name__ == "__main__":
    unittest.main()

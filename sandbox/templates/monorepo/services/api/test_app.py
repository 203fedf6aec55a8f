import unittest

import app


class AppTest(unittest.TestCase):
    def test_it_says_its_name_and_version(self):
        status, said = app.answer("/", "1.2.3")
        self.assertEqual((status, said["application"]), (200, "@NAME@-api"))
        self.assertEqual(said["version"], "1.2.3")

    def test_the_health_check_says_the_version(self):
        self.assertEqual(app.answer("/health", "1.2.3"), (200, {"version": "1.2.3"}))
